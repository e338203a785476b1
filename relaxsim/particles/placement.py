"""Where the state of a run lives while a kernel advances it."""

from __future__ import annotations

from typing import Any, ClassVar


class OnHost:
    """A kernel that runs on the processor, and so on the arrays that everything else looks at.

    Attributes
    ----------
    device : str
        What `simulate` calls the place.
    """

    device: ClassVar[str] = "cpu"

    def resident(self, x: Any) -> Any:
        """The state where this kernel advances it. It need not be an array, but it has a shape, ``x[rows]`` and ``x[:,
        columns]`` are arrays, perhaps copies, and ``x[rows] = number`` sets whole rows."""
        return x
