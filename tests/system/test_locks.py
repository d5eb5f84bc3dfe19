"""The lock files say for each package one version and its hashes, and fit what the project asks for."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
NEEDED = [each for each in PROJECT["dependencies"] if not each.startswith("hivewire-client")]
"""All that comes from an index; our client comes from the tree."""

CLIENT = tomllib.loads(Path("clients/python/pyproject.toml").read_text())["project"]
TESTS = PROJECT["optional-dependencies"]["test"]
NATS = PROJECT["optional-dependencies"]["nats"]
"""What a gateway needs with `--store nats://`: the image of `deploy/` has it."""


def locked(path: str) -> dict[str, Requirement]:
    """The versions in a lock file, by name. Fails if a package has no version of its own, or no hash."""
    entries = re.sub(r"#.*", "", Path(path).read_text()).replace("\\\n", " ")
    found: dict[str, Requirement] = {}
    for entry in filter(str.strip, entries.splitlines()):
        requirement, *hashes = entry.split(" --hash=")
        pinned = Requirement(requirement.strip())
        assert hashes, f"{pinned.name} has no hash"
        assert [each.operator for each in pinned.specifier] == ["=="], pinned
        found[canonicalize_name(pinned.name)] = pinned
    return found


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("requirements.lock", NEEDED + NATS + CLIENT["dependencies"]),
        ("requirements-test.lock", NEEDED + TESTS + CLIENT["dependencies"]),
    ],
    ids=["run", "test"],
)
def test_a_lock_has_what_the_project_asks_for(path: str, wanted: list[str]) -> None:
    """Each dependency is in it, in a version that the project lets in; `make lock` writes it anew."""
    pinned = locked(path)
    for requirement in map(Requirement, wanted):
        (version,) = (each.version for each in pinned[canonicalize_name(requirement.name)].specifier)
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}: make lock"


def test_what_is_tested_is_what_runs() -> None:
    """A package has the same version in both."""
    run, test = locked("requirements.lock"), locked("requirements-test.lock")
    assert {name: str(each.specifier) for name, each in run.items()}.items() <= {
        name: str(each.specifier) for name, each in test.items()
    }.items()


def test_what_runs_here_is_locked() -> None:
    """The suite runs with the versions of its lock file, whichever `make` target installed them."""
    for name, requirement in locked("requirements-test.lock").items():
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(version(name)), f"{requirement} is installed as {version(name)}"


@pytest.mark.parametrize("target", ["serve", "test", "peers", "fuzz"])
def test_no_target_installs_what_is_not_locked(tmp_path: Path, target: str) -> None:
    """Each installs the lock files that it needs, with hashes, before anything that is not in them."""
    command = ["make", "--dry-run", f"VENV={tmp_path}", f"{tmp_path}/.{target}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    installs = [line for line in printed.splitlines() if "pip install" in line]
    locked = [line.endswith(".lock") and "--require-hashes" in line for line in installs]
    ours = ["--no-deps" in line for line in installs]
    last = max(number for number, each in enumerate(locked) if each)
    assert all(each or own for each, own in zip(locked[:last], ours, strict=False)), installs
    assert installs[last].endswith(f"requirements{'' if target == 'serve' else '-test'}.lock")
