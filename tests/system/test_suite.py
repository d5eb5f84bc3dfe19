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
import ast, os
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

def test_crash():
    os._exit(7)

def test_after_the_crash():
    pass
"""


def test_failures_are_named_whatever_happens(tmp_path: Path) -> None:
    """In a deep stack, when the parser of Python gives up on their source, and when a worker dies."""
    (tmp_path / "test_failures.py").write_text(FAILURES)
    (tmp_path / "conftest.py").write_text("from tests.reporting import *")  # its hooks are then around all others
    arguments = ["-n", "1", "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)]
    arguments += ["-W", "error::pluggy.PluggyTeardownRaisedWarning"]  # as all warnings are errors here
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "-p", "no:cacheprovider", "-p", "xdist"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # all others take longer to load than this test
    )
    assert "3 failed, 2 passed" in found.stdout, found.stdout + found.stderr
    for name in ("test_deep (call)", "test_unparsed (call)", "test_crash (???)"):
        assert f"FAILED test_failures.py::{name}" in found.stdout
    assert "test_failures.py:7: in down" in found.stdout
    assert "INTERNALERROR" not in found.stdout


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
