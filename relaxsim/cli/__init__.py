"""The command ``relaxsim``: demo, run, verify, schemes, bench, cache, doctor.

Exit codes: 0 all went well (an UNKNOWN check is said, and is no failure), 1 a check failed, 2 bad input or
results that could not be written, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

__all__ = ["main"]

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

_ABOUT = """\
Relaxes a system (energy E, mobility K, temperature T, domain) to its Gibbs law exp(-E/T)/Z in two ways that
check each other, as an ensemble of particles and as a density, and measures the free energy of both.
"""

_START = """\
where to start:
  relaxsim demo                                 see it work: half a minute, a table and two pictures
  relaxsim run relaxsim-demo/resolved.toml      the same from a file; change the file and run it again
  relaxsim run FILE.toml --set particles.n=1e5  one value changed without touching the file
  relaxsim verify                               is the theory true: each statement measured, wrong ones with --mutants
  relaxsim doctor                               something is wrong: what is installed, does it compute
"""

_RUN = """\
Runs a system described in a TOML file and writes resolved.toml, relaxation.csv, relaxation.png, density.png
and results.npz. resolved.toml holds every setting, the seed too, and runs again to the same bits.
"""

_RUN_EXAMPLE = """\
a complete file:
  [system]
  energy = "(x**2 - 1)**2 + a*x"    # x, y, z, w or x0, x1, ...; + - * / **; exp log sin tanh ...
  mobility = "1 + x**2/2"           # a number, a text, a list (diagonal) or a list of rows (tensor)
  temperature = 0.5                 # or a text in t, such as "0.1 + exp(-t)"
  params = {a = 0.2}

  [domain]                          # without it: all of space. kind = "hypercube" takes dim
  bounds = [[-3, 3]]
  boundary = "reflecting"           # or "periodic", or one of them for each coordinate

  [initial]                         # kind: normal, uniform, point, gibbs, samples, density, mixture
  kind = "normal"
  mean = -1.0
  scale = 0.3

  [times]                           # stored times: stop and count, or values = [0.0, 0.1, 1.0]
  stop = 8.0
  count = 17

  [particles]                       # the ensemble; scheme, seed, threads, store = "final" are optional, and
                                    # checkpoint_every = 60 (seconds), with which --resume goes on after a kill
  n = 20000
  dt = 1e-3

  [density]                         # the density; step, tol, bounds are optional
  shape = 256

  [output]
  plots = ["relaxation", "density", "trajectories"]
  density_at = 1.0                  # the stored time that density.png shows; by default the last
  arrays = ["relaxation", "final"]  # "all" keeps every stored state

  [quick]                           # what --quick changes
  particles = {n = 2000, dt = 5e-3}

  [check]                           # makes the exit code; true or a false-alarm rate such as 1e-6
  monotone = true                   # F never rises
  gibbs = true                      # the final law is the Gibbs law
  agreement = true                  # F and KL of ensemble and density agree at every stored time
  tolerance = 1e-3                  # error of dt, grid and step to forgive, in units of T

exit codes: 0 no check failed (UNKNOWN: the data cannot tell), 1 a check failed, 2 the file or a setting cannot be used
"""


_VERIFY = """\
the columns, of the measurement that comes closest to what it is allowed or misses it by most; its name is below its
row, with the number of measurements that it is one of, and --json holds all of them:
  measured          what the experiment gave
  = <= >=           how it should stand to the next column
  expected          what the statement says, from a closed form, a quadrature or another method
  std error         standard error of what was measured; "exact" where nothing is random
  allowed           by how much the claim may be missed: a known error of the discretisation or of rounding, and a
                    number of standard errors such that all of a run raise a false alarm in one of a million runs
  verdict           passed; FAILED: missed, or a mutant was not rejected; ERROR: an experiment raised an error, which
                    says nothing about the statement; pending: it cannot be checked yet
  mutants rejected  of the wrong dynamics and misprints that must miss by more than twice what is allowed; - not run
  s                 seconds, mutants included

exit codes: 0 no statement failed (pending ones are no failure, unless --strict), 1 a statement FAILED or an ERROR kept
it from being judged, 2 an id, a seed or the name of a report cannot be used or a report could not be written, 130
interrupted: the reports then hold what was measured before and name what was not run
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit code.
    """
    if not (sys.argv[1:] if argv is None else argv):
        _parser().print_help(sys.stderr)
        raise SystemExit(2)
    arguments = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            code = _dispatch(arguments)
            sys.stdout.flush()
            return code
        except KeyboardInterrupt as interrupt:
            written = ", ".join(map(str, interrupt.args))  # `run.execute` says what it had written
            print(
                f"\ninterrupted; {f'written and whole: {written}' if written else 'nothing was written'}",
                file=sys.stderr,
            )
            return INTERRUPTED
        except BrokenPipeError:
            # the reader of our output has gone, as in "relaxsim demo | head"
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except (ValueError, ArithmeticError, RuntimeError, OSError, ImportError, MemoryError) as error:
            if arguments.debug or not _is_ours(error):
                raise
            print(f"error: {error or type(error).__name__}", file=sys.stderr)
            return BAD_INPUT


def _is_ours(error: BaseException) -> bool:
    """Tell an error that explains itself (ours, the operating system's, no memory) from a bug."""
    from relaxsim import errors

    ours = tuple(getattr(errors, name) for name in errors.__all__)
    return isinstance(error, (*ours, OSError, MemoryError))


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _dispatch(arguments: argparse.Namespace) -> int:
    if arguments.command == "demo":
        from relaxsim.cli.demo import run_demo

        return run_demo(arguments.out, arguments.quick, arguments.seed, arguments.threads)
    if arguments.command == "run":
        from relaxsim.cli.run import run_file

        return run_file(arguments.file, arguments.out, arguments.quick, arguments.set, arguments.resume)
    if arguments.command == "verify":
        from relaxsim.cli.verify import list_statements, run_verify

        if arguments.list:
            return list_statements(arguments.ids)
        return run_verify(
            arguments.ids, arguments.mutants, arguments.full, arguments.junit, arguments.json, arguments.strict,
            arguments.seed,
        )  # fmt: skip
    if arguments.command == "schemes":
        from relaxsim.cli.schemes import print_schemes

        return print_schemes()
    if arguments.command == "bench":
        from relaxsim.cli.bench import run_bench

        return run_bench(arguments.quick, arguments.what, arguments.out)
    if arguments.command == "cache":
        from relaxsim.cli.cache import run_cache

        return run_cache(clear=arguments.what == "clear")
    from relaxsim.cli.doctor import run_doctor

    return run_doctor()


def _parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser("relaxsim", description=_ABOUT, epilog=_START, formatter_class=layout)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", parents=[shared], help="relax a 2-D double well both ways: table, pictures, explanation",
        description="Relaxes a 2-D double well with position-dependent mobility, both ways.",
    )  # fmt: skip
    demo.add_argument("--out", metavar="DIR", help="folder for the results (default: relaxsim-demo)")
    demo.add_argument("--quick", action="store_true", help="a smaller run of a few seconds")
    demo.add_argument("--seed", type=int, help="key of the random numbers, 0 to 2**64 - 1 (default: 1)")
    demo.add_argument("--threads", type=int, help="threads (default: all); the numbers do not depend on it")

    run = commands.add_parser(
        "run", parents=[shared], formatter_class=layout, description=_RUN, epilog=_RUN_EXAMPLE,
        help="run a system from a TOML file; 'relaxsim run --help' shows a complete one",
    )  # fmt: skip
    run.add_argument("file", metavar="FILE.toml", help="the run file")
    run.add_argument("--out", metavar="DIR", help="folder for the results (default: <name of the file>-results)")
    run.add_argument("--quick", action="store_true", help="apply the overrides of the table [quick]")
    run.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="override one key, such as --set particles.n=1000 or --set system.energy=x**2/2 (repeatable)",
    )  # fmt: skip
    run.add_argument(
        "--resume", action="store_true",
        help="go on with a run that was killed, from checkpoint.npz in the folder for results",
    )  # fmt: skip

    _add_verify(commands, shared)

    commands.add_parser(
        "schemes", parents=[shared], help="list the integration schemes: orders, mobilities, noise, cost",
        description="Prints the table of schemes, made from what each scheme declares.",
    )  # fmt: skip

    bench = commands.add_parser(
        "bench", parents=[shared], help="measure how fast relaxsim is here, against C and against other packages",
        description="Measures speeds, memory and waiting times on this machine and prints them as they are known.",
    )  # fmt: skip
    bench.add_argument(
        "what", nargs="?", choices=["all", "schemes", "density", "cuda"], default="all",
        help="schemes: bias against time for each scheme, noise and dt, as a table and a picture; "
        "density: times and errors of densities, against other packages; "
        "cuda: speed on a graphics card, against CUDA C++ and JAX",
    )  # fmt: skip
    bench.add_argument("--quick", action="store_true", help="fewer and smaller runs: a minute or two, more noise")
    bench.add_argument("--out", default="work_precision.png", metavar="FILE", help="the picture of bench schemes")

    cache = commands.add_parser(
        "cache", parents=[shared], help="where compiled kernels are kept, how much there is; cache clear deletes them",
        description="Says where compiled kernels and derivatives of texts are kept and how much there is.",
    )  # fmt: skip
    cache.add_argument("what", nargs="?", choices=["show", "clear"], default="show", help="clear: delete them")

    commands.add_parser(
        "doctor", parents=[shared], help="print what is installed; compute something tiny and check it",
        description="Prints what relaxsim runs on, and checks random numbers, an ensemble and a density.",
    )  # fmt: skip
    return parser


def _add_verify(commands: Any, shared: argparse.ArgumentParser) -> None:
    verify = commands.add_parser(
        "verify", parents=[shared], formatter_class=argparse.RawDescriptionHelpFormatter,
        help="check the statements of the theory, each with mutants that must be rejected",
        description="Runs each statement's experiment and prints what was measured.", epilog=_VERIFY,
    )  # fmt: skip
    verify.add_argument(
        "ids", nargs="*", metavar="ID",
        help="relaxation.6: one statement; relaxation.6. or 'relaxation.6.*': it and all that begin so; relaxation: "
        "all of a document; in capitals or not",
    )  # fmt: skip
    verify.add_argument(
        "--mutants", action="store_true", help="run the wrong dynamics and the misprints too: a minute or two for all"
    )
    size = verify.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="seconds a statement (the default)")
    size.add_argument("--full", action="store_true", help="finer grids and more particles")
    verify.add_argument("--seed", type=int, default=0, help="key of the random numbers, 0 to 2**63 - 1 (default: 0)")
    verify.add_argument("--junit", metavar="FILE", help="write JUnit XML, which CI servers show")
    verify.add_argument("--json", metavar="FILE", help="write all measurements as JSON")
    verify.add_argument("--strict", action="store_true", help="a statement that cannot be checked yet is a failure")
    verify.add_argument("--list", action="store_true", help="list the documents and statements and run nothing")


class _Version(argparse.Action):
    """Print the version only when asked: finding it out takes an import."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        import relaxsim

        print(f"relaxsim {relaxsim.__version__}")
        parser.exit()
