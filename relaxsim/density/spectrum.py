"""Relaxation rates and eigenfunctions of a generator.

With m the law at rest, M^-1/2 G M^1/2 is symmetric for a generator in detailed balance, with the entries
sqrt(G_ij G_ji): nothing in it grows with E/T. Its eigenvectors u give the right eigenvectors sqrt(m) u of G and the
left ones u / sqrt(m). Where m is so light that u is rounding, the left ones are solved for from their neighbours; and
rates are Rayleigh quotients over the jumps, sums of positive terms, so that those far below the others keep their
digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.density.jumps import Jumps
from relaxsim.density.solve import sparse_lu
from relaxsim.errors import ConvergenceError, InputError
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid

Array = NDArray[Any]  # of floats, or of complex numbers for a generator that is not in detailed balance

_DENSE = 600  # cells up to which all eigenvectors are computed
_LIGHT = 1e-10  # of the heaviest cell, and
_FAINT = 1e-9  # of the largest entry of u: below both, an eigenvector is rounding
_BALANCE = 1e-8  # misfit of ln(rates) to ln(m) from which on a generator is not in detailed balance
_RESOLVED = 1e-13  # of the fastest rate: below, rates out of detailed balance are rounding
_STEEPEST = 1e-40  # of the fastest rate: the least that both ways of a jump together count
_EXTRA = 4  # eigenvectors computed beyond those asked for, so that no pair is cut at the end


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    """The slowest modes of a relaxation.

    Attributes
    ----------
    rates : ndarray, shape (k,)
        Relaxation rates, ascending by their real part: the eigenvalues of -G. The first is 0, the law at rest; with
        absorbing walls it is the rate of escape. Real in detailed balance, else complex.
    modes : ndarray, shape (k, \\*grid.shape)
        Right eigenvectors, as cell masses. modes[0] is the law at rest, and sums to one.
    functions : ndarray, shape (k, \\*grid.shape)
        Left eigenvectors: functions of the start that decay as exp(-rates t) on average. functions[0] is 1, the sum of
        functions[j] * modes[k] over the cells is 1 for j = k and 0 otherwise, and in detailed balance the average of
        functions[k]**2 at rest is 1. Zero in forbidden cells.
    grid : Grid
        The cells.

    Notes
    -----
    A law evolves as

    .. math:: p(t) = \\sum_k e^{-\\lambda_k t} \\, \\phi_k \\sum_i \\psi_k(i)\\, p_i(0) .

    Between two deep wells the first function is nearly constant in each of them and passes from one value to the other
    as the committor does.
    """

    rates: Array
    modes: Array
    functions: Array
    grid: Grid

    @cached_property
    def relaxation_times(self) -> FloatArray:
        """1 / Re(rates), infinite for a rate of zero."""
        real = np.real(self.rates)
        return np.asarray(np.divide(1.0, real, out=np.full(real.shape, np.inf), where=real > 0))

    @property
    def gap(self) -> float:
        """The least real part of a rate above zero: distances from rest fall as exp(-gap t), KL as exp(-2 gap t).

        Raises
        ------
        InputError
            One rate only; ask for two.
        """
        above = np.real(self.rates)[np.real(self.rates) > 0]
        if not above.size:
            raise InputError("gap: this spectrum has the rate of rest only; ask for spectrum(2) or more")
        return float(above.min())

    def __repr__(self) -> str:
        return f"Spectrum(rates={np.array2string(self.rates, precision=6, threshold=8)})"


def spectrum(generator: Any, grid: Grid, log_rest: FloatArray, k: int, exit_rates: FloatArray) -> Spectrum:
    """The k slowest modes of a generator.

    Parameters
    ----------
    generator : scipy.sparse array, shape (n, n)
        G, with what absorbing walls take in its diagonal.
    grid : Grid
    log_rest : ndarray, shape grid.shape
        ln m of the law at rest (of the Gibbs law where walls absorb); -inf in forbidden cells.
    k : int
        Number of modes.
    exit_rates : ndarray, shape (n,)
        What absorbing walls take; zeros if there are none.

    Raises
    ------
    InputError
        More modes than cells.
    ConvergenceError
        The eigensolver did not converge, or rates out of detailed balance are rounding.
    """
    shape, l = log_rest.shape, log_rest.ravel()
    cells = np.flatnonzero(np.isfinite(l))
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= len(cells):
        raise InputError(f"k: expected an integer from 1 to {len(cells)}, modes at most as many as cells, got {k!r}")
    inner = generator.tocsr()[cells][:, cells]
    jumps, exits = Jumps.of(inner), exit_rates[cells]
    solve = _balanced if in_balance(jumps, l[cells]) else _driven
    rates, modes, functions = solve(inner, jumps, l[cells], int(k), exits)
    whole = [np.zeros((k, log_rest.size), dtype=part.dtype) for part in (modes, functions)]
    for full, part in zip(whole, (modes, functions), strict=True):
        full[:, cells] = part
    right, left = (full.reshape(k, *shape) for full in whole)
    return Spectrum(rates, right, left, grid)


def in_balance(jumps: Jumps, l: FloatArray) -> bool:
    """Whether m_i r_ij = m_j r_ji on every jump, as far as rates above underflow can tell."""
    tiny = 1e-280
    if np.any((jumps.back == 0) & (jumps.rate > tiny) & (l[jumps.start] - l[jumps.end] > -600)):
        return False
    told = (jumps.rate > tiny) & (jumps.back > tiny)
    misfit = np.log(jumps.back[told]) - np.log(jumps.rate[told]) - (l[jumps.start] - l[jumps.end])[told]
    size = 1.0 + np.maximum(np.abs(l[jumps.start]), np.abs(l[jumps.end]))[told]
    return bool(np.all(np.abs(misfit) <= _BALANCE * size))


# ---- in detailed balance


def _balanced(
    generator: Any, jumps: Jumps, l: FloatArray, k: int, exits: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    from scipy import sparse

    n = jumps.n_cells
    edges = sparse.coo_array((np.sqrt(jumps.rate) * np.sqrt(jumps.back), (jumps.end, jumps.start)), shape=(n, n))
    symmetric = (edges + sparse.diags_array(generator.diagonal())).tocsc()
    u = _slowest_symmetric(symmetric, k)
    psi = _left(generator, jumps, l, u, exits)
    psi = _sorted_out(jumps, l, psi, exits)
    m = np.exp(l)
    weight = m / m.sum()
    rates = np.empty(k)
    for j in range(k):
        rates[j] = _quotient(jumps, l, psi[j], psi[j], exits) / float(np.sum(m * psi[j] ** 2))
        # The sign: positive at the heaviest end of the mode, so that equal calls give equal signs.
        psi[j] *= np.sign(psi[j][np.argmax(np.abs(psi[j]) * np.sqrt(m))]) / np.sqrt(np.sum(weight * psi[j] ** 2))
    order = np.argsort(rates, kind="stable")
    modes = weight * psi
    if np.any(exits > 0):  # the slowest mode is a law: what is left after a long time, scaled to one
        total = modes[order[0]].sum()
        modes[order[0]], psi[order[0]] = modes[order[0]] / total, psi[order[0]] * total
    return rates[order], modes[order], psi[order]


def _slowest_symmetric(matrix: Any, k: int) -> FloatArray:
    """Eigenvectors (k, n) of the k largest eigenvalues of a symmetric matrix that has none above zero."""
    n = matrix.shape[0]
    if n <= _DENSE or k > n // 8:
        from scipy.linalg import eigh

        _, vectors = eigh(matrix.toarray(), subset_by_index=[n - k, n - 1])
        return np.asarray(vectors[:, ::-1].T, dtype=np.float64)
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    try:
        values, vectors = eigsh(matrix, k, which="LM", v0=_start(n), **_inverse(matrix))
    except ArpackNoConvergence as error:
        raise ConvergenceError(
            f"spectrum: {error}; ask for fewer modes, or for one more if two rates are equal"
        ) from None
    return np.asarray(vectors[:, np.argsort(-values)].T)


def _start(n: int) -> FloatArray:
    """A start vector without symmetry, always the same."""
    return np.asarray(1.0 + 0.5 * np.sin(1.0 + np.sqrt(2.0) * np.arange(n)))


def _inverse(matrix: Any) -> dict[str, Any]:
    """sigma and OPinv of a shift just above zero, with a factorisation that needs no pivoting."""
    from scipy import sparse
    from scipy.sparse.linalg import LinearOperator

    n, leaving = matrix.shape[0], float(np.max(-matrix.diagonal()))
    # Cells that are left for good, where E is huge, may be left at rates that have nothing to do with slow modes.
    links = abs(matrix - sparse.diags_array(matrix.diagonal()))
    fastest = max(float(links.max()), _STEEPEST * leaving)
    shift = fastest / n**2 if n < 1000 else 1e-6 * fastest
    factor = sparse_lu(matrix - shift * sparse.eye_array(n))
    return {"sigma": shift, "OPinv": LinearOperator((n, n), matvec=factor.solve, dtype=np.float64)}


def _left(generator: Any, jumps: Jumps, l: FloatArray, u: FloatArray, exits: FloatArray) -> FloatArray:
    """Left eigenvectors u / sqrt(m), solved for from their neighbours where u is rounding."""
    scaled = l - l.max()
    psi = u * np.exp(np.minimum(-scaled / 2, 300.0))
    transposed = generator.T.tocsr()
    for j, vector in enumerate(u):
        faint = (scaled < np.log(_LIGHT)) & (np.abs(vector) < _FAINT * np.abs(vector).max())
        if faint.any():
            m = np.exp(scaled)
            known = np.where(faint, 0.0, psi[j])
            rate = _quotient(jumps, scaled, known, known, exits, ~faint) / float(np.sum(m * known**2))
            psi[j] = _extended(transposed, known, faint, rate)
    return np.asarray(psi)


def _extended(transposed: Any, known: FloatArray, faint: NDArray[np.bool_], rate: float) -> FloatArray:
    """Solve G^T psi = -rate psi in the faint cells, with psi known in the others."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    inside = np.flatnonzero(faint)
    block = (-transposed[inside][:, inside] - rate * sparse.eye_array(len(inside))).tocsc()
    pull = transposed[inside] @ known
    values = known.copy()
    try:
        values[inside] = splu(block).solve(pull)
    except RuntimeError:  # a singular block: faint cells that nothing connects to the others
        values[inside] = 0.0
    return values


def _quotient(
    jumps: Jumps, l: FloatArray, a: FloatArray, b: FloatArray, exits: FloatArray, among: NDArray[np.bool_] | None = None
) -> float:
    """The Dirichlet form of two functions: half the sum of m_i r_ij (a_i - a_j)(b_i - b_j), plus what exits add."""
    here, there = jumps.start, jumps.end
    flow = jumps.rate * np.exp(l[here])
    terms = flow * (a[here] - a[there]) * (b[here] - b[there])
    lost = np.exp(l) * exits * a * b
    if among is not None:
        terms, lost = terms[among[here] & among[there]], lost[among]
    return float(0.5 * terms.sum() + lost.sum())


def _sorted_out(jumps: Jumps, l: FloatArray, psi: FloatArray, exits: FloatArray) -> FloatArray:
    """Turn the modes among themselves so that rates closer than rounding are told apart (Rayleigh and Ritz).

    Without exits the constant is a mode, exactly, and comes first; the others are made orthogonal to it.
    """
    from scipy.linalg import eigh

    m = np.exp(l - l.max())
    m /= m.sum()
    if not np.any(exits > 0):
        psi = psi.copy()
        nearest = int(np.argmax(np.abs(psi @ m) / np.sqrt((psi**2) @ m)))
        psi[[0, nearest]] = psi[[nearest, 0]]
        psi[0] = 1.0
        psi[1:] -= (psi[1:] @ m)[:, None]
    first = 0 if np.any(exits > 0) else 1
    block = psi[first:] / np.sqrt((psi[first:] ** 2) @ m)[:, None]
    if len(block) < 2:
        return psi
    log_m = np.log(np.maximum(m, 1e-320))
    form = np.array([[_quotient(jumps, log_m, a, b, exits) for b in block] for a in block])
    overlap = (block * m) @ block.T
    _, turn = eigh(form, overlap)
    psi[first:] = turn.T @ block
    return psi


# ---- not in detailed balance


def _driven(generator: Any, jumps: Jumps, l: FloatArray, k: int, exits: FloatArray) -> tuple[Array, Array, Array]:
    """Right and left eigenvectors from the two eigenproblems of M^-1/2 G M^1/2, made biorthonormal.

    Without exits sqrt(m) is a right and a left eigenvector of it, exactly: it is taken out, and the rest is solved for
    in what is orthogonal to it. Rates that rounding decides are refused.
    """
    from scipy import sparse

    n, closed = jumps.n_cells, not np.any(exits > 0)
    scale = np.maximum(l, l.max() - 600.0)
    root = np.exp(0.5 * (scale - scale.max()))
    root /= np.linalg.norm(root)
    weight = root**2
    modes, functions = np.exp(l - l.max())[None], np.ones((1, n))
    modes = modes / modes.sum()
    if closed and k == 1:
        return np.zeros(1), modes, functions
    entries = np.exp(np.log(jumps.rate) + 0.5 * (scale[jumps.start] - scale[jumps.end]))
    matrix = sparse.coo_array((entries, (jumps.end, jumps.start)), shape=(n, n))
    matrix = (matrix + sparse.diags_array(generator.diagonal())).tocsc()
    found, rest = (k - 1, root) if closed else (k, None)
    wanted = min(found + _EXTRA, n - int(closed))
    values, right = _slowest(matrix, wanted, rest)
    _, left = _slowest(matrix.T.tocsc(), wanted, rest)
    left = np.linalg.solve(left.T @ right, left.T)  # rows: left vectors with left @ right = 1
    slow, back = right.T * root, left / root
    if closed:
        slow, back = slow - np.outer(slow.sum(axis=1), modes[0]), back - (back @ modes[0])[:, None]
    rates = values.astype(np.complex128) + 0.0  # no negative zeros
    rates.real = [_real_rate(jumps, np.log(weight), each, exits) for each in back]
    order = np.lexsort((rates.real, rates.imag, np.round(rates.real / np.abs(rates).max(), 10)))[:found]
    rates, slow, back = rates[order], slow[order], back[order]
    _refuse_rounding(rates, float(np.max(-generator.diagonal())))
    for j in range(found):
        heavy = slow[j][np.argmax(np.abs(slow[j]))]
        factor = heavy / abs(heavy) / np.sqrt(np.sum(weight * np.abs(back[j]) ** 2)) if j or closed else slow[0].sum()
        slow[j], back[j] = slow[j] / factor, back[j] * factor
    told: Array = rates if np.iscomplexobj(values) else rates.real
    if closed:
        return np.append(0.0, told), np.concatenate([modes, slow]), np.concatenate([functions, back])
    return told, slow, back


def _real_rate(jumps: Jumps, l: FloatArray, psi: Array, exits: FloatArray) -> float:
    """Re(rate) of a left eigenvector, <psi, -G^T psi> at rest.

    What G has beyond detailed balance is antisymmetric there and drops out; a sum of positive terms is left.
    """
    parts = (psi.real, psi.imag) if np.iscomplexobj(psi) else (psi,)
    form = sum(_quotient(jumps, l, part, part, exits) for part in parts)
    return float(form / np.sum(np.exp(l) * np.abs(psi) ** 2))


def _refuse_rounding(rates: Array, fastest: float) -> None:
    low = np.abs(rates) < _RESOLVED * fastest
    if low.any():
        raise ConvergenceError(
            f"spectrum: out of detailed balance rates are known to about {_RESOLVED:g} of the fastest jumps, "
            f"{fastest:.2e}, and {int(low.sum())} of those asked for beyond rest are below it; raise the temperature, "
            "use fewer cells, join parts that no jump connects, or leave out the antisymmetric part"
        )


def _slowest(matrix: Any, k: int, rest: FloatArray | None) -> tuple[Array, Array]:
    """Rates (k,) and right eigenvectors (n, k) of the eigenvalues of largest real part, among the k next to zero.

    `rest`, a right and left null vector of norm one, is left out.
    """
    n = matrix.shape[0]
    if n <= _DENSE or k > n // 8:
        dense = matrix.toarray()
        if rest is not None:  # no eigenvalue is further from zero than twice the fastest rate: this one comes last
            dense -= 3.0 * np.max(-matrix.diagonal()) * np.outer(rest, rest)
        values, vectors = np.linalg.eig(dense)
    else:
        from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

        def kept(x: Array) -> Array:
            return x if rest is None else x - rest * (rest @ x)

        how = _inverse(matrix)
        solve = how["OPinv"].matvec
        how["OPinv"] = LinearOperator((n, n), matvec=lambda x: kept(solve(kept(x.ravel()))), dtype=np.float64)
        try:
            values, vectors = eigs(matrix, k, which="LM", v0=kept(_start(n)), **how)
        except ArpackNoConvergence as error:
            raise ConvergenceError(f"spectrum: {error}; ask for other numbers of modes") from None
    order = np.argsort(-values.real, kind="stable")[:k]
    return -values[order], vectors[:, order]
