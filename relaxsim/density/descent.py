"""Relaxation as steepest descent of the free energy, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from relaxsim.density.fokker_planck import FokkerPlanck
    from relaxsim.density.proximal_path import ProximalPath


class Descent:
    """The part of `FokkerPlanck` that needs no generator: the proximal recursion."""

    def proximal(
        self,
        initial: Any,
        times: Any,
        *,
        step: float,
        epsilon: float,
        metric: Any = "auto",
        correct_bias: bool = False,
        tol: float = 1e-9,
        max_iterations: int = 20_000,
        progress: bool | None = None,
    ) -> ProximalPath:
        """Evolve a law by the entropic proximal recursion, steepest descent of F in the Wasserstein distance.

        Each step from masses p to p' minimises W(p, p')^2/2h + F(p') with the squared distance of the metric K^-1 and
        an entropic term of strength epsilon; the path tends to that of `evolve` as h and epsilon/h go to 0.

        Parameters
        ----------
        initial : initial law or ndarray
            A law of `relaxsim.initial`, or cell masses of shape grid.shape that sum to one.
        times : array_like, shape (n_times,)
            Increasing; times[0] belongs to the initial law.
        step : float
            h; it has to divide every interval between times.
        epsilon : float
            Strength of the entropic term; sqrt(epsilon) should reach from cell to cell, and epsilon/2h, which adds to
            the temperature, be much smaller than T.
        metric : {"auto", "euclidean", "geodesic"} or array_like, shape (dim, dim)
            Metric of the distance: it has to be K^-1, which "auto" takes. "euclidean" is that of mobility 1, "geodesic"
            that of diag(K_1(x_1), ..., K_d(x_d)), a matrix that of its constant inverse.
        correct_bias : bool, default False
            Run at T - epsilon/2h (and at the energy E + (epsilon/4h) ln det K where K varies), so that the law at rest
            is the Gibbs law to first order in epsilon/h.
        tol : float, default 1e-9
            How far ln z of a step may be from its fixed point.
        max_iterations : int, default 20000
            Passes of the fixed-point iteration allowed for a step.
        progress : bool, optional
            Show a progress bar; None: after 2 s on a terminal.

        Returns
        -------
        ProximalPath
            A `DensityPath` that also says what each step cost, how it contracted, and that it descended.

        Raises
        ------
        InputError, ShapeError
            Unusable arguments, a step that does not divide the intervals, a metric that is not that of the mobility, an
            epsilon so small that the kernel does not reach the next cell.
        MobilityError
            A mobility without a distance in closed form: not diagonal with K_a(x_a) alone, and not constant.
        ConvergenceError
            More passes would be needed than allowed, or a step that did not descend.

        Warns
        -----
        UserWarning
            sqrt(epsilon) is less than three quarters of the distance of neighbouring cells.

        References
        ----------
        R. Jordan, D. Kinderlehrer & F. Otto, *The variational formulation of the Fokker-Planck equation*, SIAM J. Math.
        Anal. 29 (1998) 1. K. F. Caluya & A. Halder, *Gradient flow algorithms for density propagation in stochastic
        systems*, IEEE Trans. Autom. Control 65 (2020) 3991.
        """
        from relaxsim.density.proximal import proximal

        return proximal(
            cast("FokkerPlanck", self), initial, times, step=step, epsilon=epsilon, metric=metric,
            correct_bias=correct_bias, tol=tol, max_iterations=max_iterations, progress=progress,
        )  # fmt: skip
