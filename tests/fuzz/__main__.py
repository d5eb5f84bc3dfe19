"""The fuzzer: `python -m tests.fuzz --seconds 60` shares the time among all targets, `... codec name` among those.

Guided by coverage, with atheris (libFuzzer for Python; the extra `fuzz`). What it learns is kept in `.fuzz/` for the
next run. An input on which a target fails, hangs or takes too much memory stays under `cases/`, where the suite tries
it again each time.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import LARGEST, TARGETS

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).parent / "cases"

SLOWEST = 5
"""Seconds for one input."""

MEMORY = 1_024
"""MiB for one target."""


def main() -> int:
    """Run targets one after the other; 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="target", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together (60)")
    chosen = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print(
            "atheris is not installed. It is in the extra `fuzz`, for Linux: pip install -e '.[test,fuzz]'\n"
            "Without it, `pytest tests/fuzz` tries the same targets over seeds, kept cases and random changes.",
            file=sys.stderr,
        )
        return 2
    names = chosen.targets or list(TARGETS)
    seconds = max(1, chosen.seconds // len(names))
    failed = sum(_run(name, seconds) for name in names)
    return int(failed > 0)


def _run(name: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own and print a line; whether something was found."""
    corpus, cases = ROOT / ".fuzz" / name, CASES / name
    corpus.mkdir(parents=True, exist_ok=True)
    cases.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    before = set(cases.iterdir())
    limits = [f"-max_total_time={seconds}", f"-timeout={SLOWEST}", f"-rss_limit_mb={MEMORY}", f"-max_len={LARGEST}"]
    options = [*limits, f"-artifact_prefix={cases}/", "-print_final_stats=1"]
    command = [sys.executable, "-m", "tests.fuzz.one", name, *options, str(corpus), str(cases)]
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    found = sorted(set(cases.iterdir()) - before)
    if not before and not found:
        cases.rmdir()
    executed = re.search(r"number_of_executed_units:\s*(\d+)", done.stdout)
    covered = re.findall(r"cov: (\d+)", done.stdout)
    number = int(executed[1]) if executed else 0
    verdict = "failed" if done.returncode else "nothing found"
    print(f"{name:<14}{number:>10,} executions {(covered or ['?'])[-1]:>6} edges  {verdict}", flush=True)
    if done.returncode:
        print(_trouble(done.stdout), *(f"kept {path.relative_to(ROOT)}" for path in found), sep="\n", flush=True)
    return bool(done.returncode)


def _trouble(output: str) -> str:
    """What went wrong: the traceback, or what libFuzzer says last."""
    found = re.search(r"=== Uncaught Python exception.*?(?=\n==\d+==|\Z)", output, re.DOTALL)
    return found[0] if found else output[-2_000:]


if __name__ == "__main__":
    sys.exit(main())
