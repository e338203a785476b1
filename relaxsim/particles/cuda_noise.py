"""Source lines that make the noise of the particles of one thread of a card, as the packing in `random` says.

The names of what belongs to one of several particles end in a suffix: ``p_0``, ``z0_0``, ... and ``p_1``, ``z0_1``, ...
Particles that share a call but are in different threads each make it and take their part.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from relaxsim.particles.loop import Plan
from relaxsim.particles.random import DIGITS, HALF, QUARTER, WORD_DIGITS, steps_per_call

TOGETHER = 3  # normals a step up to which the particles that share a call have one thread

Group = tuple[int, ...]


def group_of(plan: Plan) -> Group:
    """The particles of a thread, as offsets from its first."""
    n = plan.n_noise
    if plan.noise != "gaussian" or plan.scheme.draws == "uniform" or n > TOGETHER:
        return (0,)
    if plan.dtype == "float64":
        return (0, HALF) if n % 2 else (0,)
    return (0, QUARTER, HALF, HALF + QUARTER) if n % 2 else (0, QUARTER)


def suffixes_of(plan: Plan) -> list[str]:
    """How the names of each of a thread's particles end."""
    return _suffixes(group_of(plan))


def _suffixes(group: Group) -> list[str]:
    return [f"_{g}" for g in range(len(group))] if len(group) > 1 else [""]


@dataclass
class Noise:
    """Lines that make the noise of a thread's particles.

    Attributes
    ----------
    setup : list of str
        To be done once a launch; they set what has to live from step to step.
    step : list of str
        To be done in every step: they set z0, z1, ..., s0, ... and u0, ... from `seed`, `p` (the particle, uint64), `k`
        (the step), `step_bits` (the same as uint64) and `first_step`.
    """

    setup: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)

    def add(self, other: Noise) -> None:
        """Append the lines of another one."""
        self.setup += other.setup
        self.step += other.step


def noise_of(plan: Plan) -> Noise:
    """All that a step of a plan draws."""
    noise, group = Noise(), group_of(plan)
    if plan.scheme.draws == "uniform":
        noise.add(uniform_noise(plan.n_noise, "DYNAMICS", "z", group))
    elif plan.noise == "three-point":
        noise.add(three_point_noise(plan.n_noise))
    elif plan.noise == "two-point":
        noise.add(two_point_noise(plan.n_noise, "TWO_POINT", "z", group))
    elif plan.dtype == "float64":
        noise.add(_pairs(plan.n_noise, "DYNAMICS", "z", "normal_pair(b0, b1)", group))
    else:
        noise.add(normals_32(plan.n_noise, group))
    if plan.n_signs:
        noise.add(two_point_noise(plan.n_signs, "SIGNS", "s", group))
    noise.add(uniform_noise(plan.scheme.uniforms, "METROPOLIS", "u", group))
    return noise


def uniform_noise(n: int, stream: str, name: str, group: Group) -> Noise:
    """Uniforms on (0, 1], two a call, as normals in double precision."""
    return _pairs(n, stream, name, "REAL(uniform(b0)), REAL(uniform(b1))", group)


def _pairs(n: int, stream: str, name: str, made: str, group: Group) -> Noise:
    """Two numbers a call; the last of an odd number is one of those that p and p ^ 64 share."""
    lines, suffixes = [], _suffixes(group)
    for s in suffixes:
        for q in range(n // 2):
            lines.append(f"b0, b1 = random_bits(seed, p{s}, step_bits, {stream}, np.uint64({q}))")
            lines.append(f"{name}{2 * q}{s}, {name}{2 * q + 1}{s} = {made}")
    call, last = f"step_bits, {stream}, np.uint64({n // 2}))", f"{name}{n - 1}"
    if n % 2 and group == (0, HALF):
        lines += [f"b0, b1 = random_bits(seed, p_0, {call}", f"{last}_0, {last}_1 = {made}"]
    elif n % 2:
        for s in suffixes:
            lines += [
                f"b0, b1 = random_bits(seed, p{s} & WITHOUT_64, {call}",
                f"one, other = {made}",
                f"{last}{s} = where((p{s} & BIT_64) == 0, one, other)",
            ]
    return Noise([], lines)


def normals_32(n: int, group: Group) -> Noise:
    """Four normals a call; what is left over shares calls with p ^ 32, or with p ^ 32, p ^ 64 and p ^ 96."""
    lines = []
    for s in _suffixes(group):
        for q in range(n // 4):
            z = [f"z{b}{s}" for b in range(4 * q, 4 * q + 4)]
            lines += [_words(f"p{s}", q), f"{z[0]}, {z[1]} = {_PAIR}", f"{z[2]}, {z[3]} = {_OTHER_PAIR}"]
    done, draw = n // 4 * 4, n // 4
    if n - done >= 2:
        z = [f"z{done}", f"z{done + 1}"]
        if len(group) == 1:
            lines += [_words("p & WITHOUT_32", draw), _PICK, f"{z[0]}, {z[1]} = {_PAIR}"]
        for g in range(0, len(group) - 1, 2):
            lines += [
                _words(f"p_{g}", draw),
                f"{z[0]}_{g}, {z[1]}_{g} = {_PAIR}",
                f"{z[0]}_{g + 1}, {z[1]}_{g + 1} = {_OTHER_PAIR}",
            ]
        done, draw = done + 2, draw + 1
    if n - done and len(group) == 1:
        lines += [_words("p & WITHOUT_96", draw), _PICK, f"one, other = {_PAIR}"]
        lines.append(f"z{done} = where((p & BIT_64) == 0, one, other)")
    elif n - done:
        lines += [_words("p_0", draw), f"z{done}_0, z{done}_2 = {_PAIR}", f"z{done}_1, z{done}_3 = {_OTHER_PAIR}"]
    return Noise([], lines)


_PAIR, _OTHER_PAIR = "normal_pair_32(w0, w1)", "normal_pair_32(w2, w3)"
_PICK = "w0, w1 = (w0, w1) if (p & BIT_32) == 0 else (w2, w3)"


def _words(particle: str, draw: int) -> str:
    return f"w0, w1, w2, w3 = random_words(seed, {particle}, step_bits, DYNAMICS, np.uint64({draw}))"


# ---- digits of calls that serve several steps


def three_point_noise(n: int) -> Noise:
    """The numbers of one particle."""
    words = [f"d{r}" for r in range(4 * -(-n // DIGITS["three-point"]))]
    refill = []
    for draw in range(len(words) // 4):
        refill.append(f"w0, w1, w2, w3 = random_words(seed, p, call, THREE_POINT, np.uint64({draw}))")
        refill += [f"{words[4 * draw + j]} = three_point_state(w{j})" for j in range(4)]
    lines = []
    for b in range(n):
        skipped = f"three_point_skip({_picked(words, WORD_DIGITS)}, POWERS_OF_SIX[digit % {WORD_DIGITS}])"
        lines += [f"digit = k % {steps_per_call('three-point', n)} * {n} + {b}", f"z{b} = REAL(three_point({skipped}))"]
    return _refilled("three-point", n, words, refill, lines)


def two_point_noise(n: int, stream: str, name: str, group: Group) -> Noise:
    """Two-point noise, and signs in a stream of their own."""
    noise, count = Noise(), 2 * -(-n // DIGITS["two-point"])
    for s in _suffixes(group):
        words = [f"{name}_bits{r}{s}" for r in range(count)]
        refill = [
            f"{words[2 * q]}, {words[2 * q + 1]} = random_bits(seed, p{s}, call, {stream}, np.uint64({q}))"
            for q in range(count // 2)
        ]
        lines = []
        for b in range(n):
            lines += [
                f"digit = k % {steps_per_call('two-point', n)} * {n} + {b}",
                f"{name}{b}{s} = REAL(two_point({_picked(words, 64)}, np.uint64(digit % 64)))",
            ]
        noise.add(_refilled("two-point", n, words, refill, lines))
    return noise


def _refilled(kind: str, n: int, words: list[str], refill: list[str], lines: list[str]) -> Noise:
    n_steps = steps_per_call(kind, n)
    step = [
        f"if k % {n_steps} == 0 or k == first_step:",
        f"    call = np.uint64(k // {n_steps})",
        *[f"    {line}" for line in refill],
        *lines,
    ]
    return Noise([f"{word} = np.uint64(0)" for word in words], step)


def _picked(words: list[str], digits: int) -> str:
    """The word that a digit is in."""
    text = words[-1]
    for r in reversed(range(len(words) - 1)):
        text = f"{words[r]} if digit < {digits * (r + 1)} else {text}"
    return f"({text})"
