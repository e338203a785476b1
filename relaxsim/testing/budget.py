"""One false-alarm rate, shared by a declared number of statistical assertions."""

from __future__ import annotations

from relaxsim.errors import InputError
from relaxsim.system.validate import Problems, positive_integer
from relaxsim.testing.laws import DEFAULT_ALPHA, check_alpha

DEFAULT_ASSERTIONS = 100


class Budget:
    """A false-alarm rate for a whole session of tests, in equal shares.

    Parameters
    ----------
    alpha : float, default 1e-6
        Probability that any of the assertions fails although all that is tested is right.
    assertions : int, default 100
        How many assertions may take a share.

    Attributes
    ----------
    alpha : float
    assertions : int
    spent : int
        Shares taken so far.

    Examples
    --------
    >>> from relaxsim.testing import Budget
    >>> Budget(1e-6, 20).spend()
    5e-08
    """

    def __init__(self, alpha: float = DEFAULT_ALPHA, assertions: int = DEFAULT_ASSERTIONS) -> None:
        problems = Problems()
        try:
            self.alpha = check_alpha(alpha)
        except InputError as error:
            problems.add("alpha", str(error).removeprefix("alpha: "))
        self.assertions = positive_integer(assertions, "assertions", problems)
        problems.raise_if_any()
        self.spent = 0

    def spend(self) -> float:
        """Take a share: the `alpha` of one assertion.

        Raises
        ------
        InputError
            More assertions than were declared.
        """
        __tracebackhide__ = True
        if self.spent == self.assertions:
            raise InputError(
                f"Budget: all {self.assertions} declared assertions have been made; declare more, which makes each "
                "share smaller: relaxsim_assertions in pytest's settings, or Budget(alpha, assertions) outside pytest"
            )
        self.spent += 1
        return self.alpha / self.assertions

    def __repr__(self) -> str:
        return f"Budget(alpha={self.alpha:g}, assertions={self.assertions}, spent={self.spent})"
