"""Loop-level twin of the recurrence of relaxsim.density.action."""

from __future__ import annotations


def recur(generator, now, old, factor, shift, back, weights, sums):
    """Terms of the recurrence with B = I + G / max |G_ii|, one cell after the other."""
    dense = generator.toarray()
    cells = range(len(dense))
    rate = max(-dense[i, i] for i in cells)
    rows = [[(j, dense[i, j] / rate) for j in cells if dense[i, j]] for i in cells]
    for k in range(weights.shape[1]):
        term = old.copy()
        for i in cells:
            product = (1 + shift) * now[i] + sum(value * now[j] for j, value in rows[i])
            term[i] = factor * product - back * old[i]
        now, old = term, now
        for o in range(weights.shape[0]):
            sums[o] += weights[o, k] * now
    return now, old
