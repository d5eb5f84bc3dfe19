"""The fuzzer: `python -m tests.fuzz --seconds 60` shares a minute among all targets, `... codec name` among those.

Guided by coverage, with atheris (libFuzzer for Python; the extra `fuzz`), one target on each core at a time. What it
learns is kept in `.fuzz/` for the next run. An input on which a target fails, hangs or takes too much memory stays
under `cases/`, where the suite tries it again each time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).parent / "cases"
LEARNT = ROOT / ".fuzz"

INSTRUMENTED = ["hivewire_protocol", "hivewire", "websockets", "defusedxml", "jwt", "json", "urllib"]

SLOWEST = 5
"""Seconds for one input."""

MEMORY = 1_024
"""MiB for one target."""


def main() -> int:
    """Run targets, as many at a time as there are cores; 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="target", help="one of those that are printed; all by default")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together (60)")
    chosen = parser.parse_args()
    try:
        import atheris
    except ModuleNotFoundError:
        print(
            "atheris is not installed. It is in the extra `fuzz`, for Linux: pip install -e '.[test,fuzz]'\n"
            "Without it, `pytest tests/fuzz` tries the same targets over seeds, kept cases and random changes.",
            file=sys.stderr,
        )
        return 2
    # Once, here: each target is tried in a fork of this process, which need not do it again.
    with atheris.instrument_imports(include=INSTRUMENTED), contextlib.redirect_stderr(io.StringIO()):
        from tests.fuzz.targets import TARGETS
    if unknown := set(chosen.targets) - set(TARGETS):
        parser.error(f"{', '.join(unknown)}: no such target; there are {', '.join(TARGETS)}")
    waiting, cores = chosen.targets or list(TARGETS), os.cpu_count() or 1
    seconds = max(1, chosen.seconds * min(cores, len(waiting)) // len(waiting))
    running: dict[int, Run] = {}
    failed = False
    while waiting or running:
        while waiting and len(running) < cores:
            run = Run.start(waiting.pop(0), seconds)
            running[run.pid] = run
        pid, status = os.wait()
        failed |= running.pop(pid).report(status)
    return int(failed)


class Run(NamedTuple):
    """One target that is being tried in a process of its own."""

    name: str
    pid: int
    before: frozenset[Path]

    @classmethod
    def start(cls, name: str, seconds: int) -> Run:
        """Begin, from the seeds, the kept cases and what was learnt before."""
        corpus, cases = LEARNT / name, CASES / name
        corpus.mkdir(parents=True, exist_ok=True)
        cases.mkdir(parents=True, exist_ok=True)
        before = frozenset(cases.iterdir())
        if not (pid := os.fork()):
            _fuzz(name, seconds)
        return cls(name, pid, before)

    def report(self, status: int) -> bool:
        """Print a line, and what was found; whether anything was."""
        said, cases = _log(self.name).read_text(errors="replace"), CASES / self.name
        found = sorted(set(cases.iterdir()) - self.before)
        if not self.before and not found:
            cases.rmdir()
        executed = re.search(r"number_of_executed_units:\s*(\d+)", said)
        covered = re.findall(r"cov: (\d+)", said)
        number = int(executed[1]) if executed else 0
        failed = status != 0 or not number
        verdict = "failed" if failed else "nothing found"
        print(f"{self.name:<14}{number:>10,} executions {(covered or ['?'])[-1]:>6} edges  {verdict}", flush=True)
        if failed:
            print(_trouble(said), *(f"kept {path.relative_to(ROOT)}" for path in found), sep="\n", flush=True)
        return failed


def _fuzz(name: str, seconds: int) -> NoReturn:
    """Try one target until the time is over or something is found, and end this process as a program ends: libFuzzer
    keeps what was found in an exit handler."""
    import atheris

    from tests.fuzz.targets import LARGEST, TARGETS

    corpus, cases = LEARNT / name, CASES / name
    for number, seed in enumerate(TARGETS[name].seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    with _log(name).open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    limits = [f"-max_total_time={seconds}", f"-timeout={SLOWEST}", f"-rss_limit_mb={MEMORY}", f"-max_len={LARGEST}"]
    options = [*limits, f"-artifact_prefix={cases}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus), str(cases)], TARGETS[name])
    atheris.Fuzz()
    sys.exit()


def _log(name: str) -> Path:
    """The log of libFuzzer about a target."""
    return LEARNT / f"{name}.log"


def _trouble(output: str) -> str:
    """The error: the traceback, or the last lines of libFuzzer."""
    found = re.search(r"=== Uncaught Python exception.*?(?=\n==\d+==|\Z)", output, re.DOTALL)
    return found[0] if found else output[-2_000:]


if __name__ == "__main__":
    sys.exit(main())
