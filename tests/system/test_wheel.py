"""The wheel: built from what the image copies, it has all that a gateway needs, with no source beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests.running import PATIENCE

DOCKERFILE = Path("deploy/Dockerfile")


def copied() -> list[str]:
    """What the Dockerfile copies into the image."""
    lines = DOCKERFILE.read_text().splitlines()
    return [name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]]


def ran(command: Sequence[object], folder: Path) -> str:
    """What a command prints that succeeds. It sees nothing of this checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HIVEWIRE_"))}
    found = subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_the_image_is_built_from_files_that_are_there() -> None:
    """What the Dockerfile copies is in the repository, and its list of what is ignored lets it through."""
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    assert {*copied()} == {line[1:] for line in ignored if line.startswith("!")}
    assert all(Path(name).exists() for name in copied())


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels that the image installs, built as it builds them."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for name in copied():
        copy = shutil.copytree if Path(name).is_dir() else shutil.copy
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        copy(name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", built]
    ran([*pip, "./clients/python", "."], source)
    return built


def test_the_wheel_serves_without_its_source(wheels: Path, tmp_path: Path) -> None:
    """Pages, API documents and the SQLite schema are in it, and both commands of the package are there."""
    venv = tmp_path / "venv"
    ran([sys.executable, "-m", "venv", "--without-pip", venv], tmp_path)
    # Dependencies are those of the tests, without what is editable there, which has a file of its own.
    inside = Path(
        ran([venv / "bin" / "python", "-c", "import site; print(site.getsitepackages()[0])"], tmp_path).strip()
    )
    (inside / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-cache", "--no-index", "--no-deps"]
    ran([*uv, "--python", venv / "bin" / "python", *wheels.glob("*.whl")], tmp_path)
    where = "import hivewire, hivewire_client, hivewire_dashboard; print(hivewire.__file__, hivewire_client.__file__)"
    places = ran([venv / "bin" / "python", "-c", where], tmp_path).split()
    assert all(Path(place).is_relative_to(venv) for place in places)
    command = [venv / "bin" / "hivewire", "serve", "--port=0", "--data", tmp_path / "data.db", "--log-format=json"]
    with subprocess.Popen([*map(str, command)], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as gateway:
        assert gateway.stderr is not None
        try:
            url = next(line.split('"url": "')[1].split('"')[0] for line in gateway.stderr if '"url": "' in line)
            assert httpx.get(f"{url}/health/ready?for=writes").status_code == 200
            assert httpx.get(f"{url}/openapi.json").json()["openapi"] == "3.1.0"
            assert "<title>" in httpx.get(f"{url}/dashboard/").text
        finally:
            gateway.terminate()
            gateway.stderr.read()
    assert gateway.returncode == 0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("installer", ["pip", "pipx"])
def test_the_wheel_is_installed_with_what_it_depends_on(wheels: Path, tmp_path: Path, installer: str) -> None:
    """From PyPI, in an environment of its own."""
    (wheel,) = wheels.glob("hivewire-*.whl")
    tools = tmp_path / "tools"
    ran([sys.executable, "-m", "venv", tools], tmp_path)
    pip = [tools / "bin" / "pip", "install", "--quiet", "--find-links", wheels]
    if installer == "pip":
        ran([*pip, f"hivewire[nats,otel] @ {wheel.as_uri()}"], tmp_path)
        told = ran([tools / "bin" / "hivewire", "--version"], tmp_path)
    else:
        ran([*pip, "pipx"], tmp_path)
        run = [tools / "bin" / "pipx", "run", "--no-cache", "--spec", wheel, f"--pip-args=--find-links {wheels}"]
        told = ran([*run, "hivewire", "--version"], tmp_path)
    assert told.startswith("hivewire, version ")
