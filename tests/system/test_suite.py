"""The suite itself: a failure is always reported with its name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import unmeasured

ROOT = Path(__file__).parents[2]

FAILURES = """
import ast, os, threading, time
import _pytest._code.source as source

def down(depth):
    assert depth, "the bottom"
    down(depth - 1)

class Broken:
    def __getattr__(self, name):
        if name == "parse":
            raise SystemError("AST constructor recursion depth mismatch (before=1, after=2)")
        return getattr(ast, name)

def test_deep():
    down(600)

def test_unparsed(monkeypatch):
    source.ast = Broken()
    down(600)

def test_behind():
    source.ast = ast

def test_hanging():
    threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()
    time.sleep(1e6)

def test_crash():
    os._exit(7)

def test_after_the_crash():
    pass
"""


def test_failures_are_named_whatever_happens(tmp_path: Path) -> None:
    """In a deep stack, when the parser of Python gives up on their source, when the time is over (with the places of
    all threads), and when the process dies."""
    (tmp_path / "test_failures.py").write_text(FAILURES)
    (tmp_path / "conftest.py").write_text("from tests.reporting import *")  # its hooks are then around all others
    warnings = ["-W", "error::pluggy.PluggyTeardownRaisedWarning"]  # as all warnings are errors here
    found = ran(tmp_path, "--processes", "2", *warnings, "-p", "pytest_timeout", "-o", "timeout=3")
    assert "4 failed, 2 passed" in found.stdout, found.stdout + found.stderr
    for name in ("test_deep (call)", "test_unparsed (call)", "test_hanging (call)", "test_crash (call)"):
        assert f"FAILED test_failures.py::{name}" in found.stdout
    assert "test_failures.py:7: in down" in found.stdout
    assert "Timeout (>3.0s)" in found.stdout
    assert "Stack of Thread" in found.stdout
    assert "INTERNALERROR" not in found.stdout


COUNTED = """
import os, pytest
from pathlib import Path

@pytest.fixture(scope="session")
def begun(tmp_path_factory):
    yield tmp_path_factory.getbasetemp()
    Path({path!r}, f"ended-{{os.getpid()}}").touch()

@pytest.mark.parametrize("number", range(100))
def test_one(begun, number, tmp_path):
    assert begun.name.startswith("process-")
    with Path({path!r}, "all").open("a") as file:
        print(number, os.getpid(), tmp_path, file=file)
    if number == 50:
        os._exit(7)
    assert number != 99, "the last"
"""


def test_each_test_runs_once_whoever_runs_it(tmp_path: Path) -> None:
    """In processes with folders of their own, which end what they began; also what a dead process had taken is run."""
    (tmp_path / "test_counted.py").write_text(COUNTED.format(path=str(tmp_path)))
    found = ran(tmp_path, "--processes", "3")
    assert "2 failed, 98 passed" in found.stdout, found.stdout
    assert "test_counted.py::test_one[99]" in found.stdout
    numbers, folders = noted(tmp_path)
    assert sorted(numbers) == [*range(100)]
    assert len({*folders}) == 100
    assert found.returncode == 1


def test_the_first_failure_may_end_the_run(tmp_path: Path) -> None:
    """With `-x`, whichever process it was in: the others end too, and what they began."""
    (tmp_path / "test_counted.py").write_text(COUNTED.format(path=str(tmp_path)))
    found = ran(tmp_path, "--processes", "2", "-x")
    assert "stopping after 1 failures" in found.stdout, found.stdout
    noted(tmp_path)
    assert found.returncode == 1


def noted(folder: Path) -> tuple[list[int], list[str]]:
    """The tests that were run and their folders. All processes but the one that crashed have ended what they began."""
    lines = [line.split() for line in (folder / "all").read_text().splitlines()]
    ended = {path.name.removeprefix("ended-") for path in folder.glob("ended-*")}
    dead = {process for number, process, _ in lines if number == "50"}
    assert {process for _, process, _ in lines} - ended == dead
    return [int(number) for number, _, _ in lines], [place for _, _, place in lines]


def ran(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What pytest makes of the tests in this folder, with the hooks that share them."""
    given = ["-c", "/dev/null", "--rootdir", str(folder), str(folder), "-p", "no:cacheprovider", "-p", "tests.sharing"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *given, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # all others take longer to load than these tests
    )


SKIPPED = {
    "tests/dashboard/test_shell.py::test_it_is_in_no_frame": "there is no Chromium",
    "tests/gate/test_browser.py": "there is no Node with a WebSocket like that of browsers",
}
"""A test of each program that may be missing, and what is said then."""


def test_without_chromium_and_node_the_suite_passes_and_says_what_it_skipped(tmp_path: Path) -> None:
    """The summary names the file, the line and the program."""
    kept = {name: value for name, value in unmeasured().items() if name != "BROWSER_TESTS" and "PYTEST" not in name}
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *SKIPPED, "-p", "asyncio", "-p", "timeout", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=kept | {"PATH": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "passed" not in found.stdout
    for test, why in SKIPPED.items():
        line = rf"^SKIPPED \[\d+\] {test.partition('::')[0]}:\d+: {why}$"
        assert re.search(line, found.stdout, re.MULTILINE), found.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "command"),
    [
        (["siege"], "-m bench.siege --seconds 5"),
        (["siege", "SECONDS=1", "SHORT=1"], "-m bench.siege --seconds 1 --short"),
        (["soak"], "-m bench.soak --seconds 60"),
        (["soak-cluster", "SECONDS=5"], "-m bench.soak.cluster --seconds 5"),
        (["cluster"], "-m bench.cluster"),
        (["cluster", "PORT=9001"], "-m bench.cluster --port 9001"),
        (["bench-peers"], "-m bench.peers"),
    ],
)
def test_targets_of_make_do_what_their_help_says(target: list[str], command: str) -> None:
    """An option is given only if its variable is: without SHORT a siege measures times."""
    ours = ("SHORT", "SECONDS", "PORT", "MAKEFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    # make says where it is when another make has called it, as `make test` does.
    done = ["make", "--dry-run", "--always-make", "--no-print-directory", *target]
    found = subprocess.run(done, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    assert found.stdout.splitlines()[-1].rstrip().endswith(command)
