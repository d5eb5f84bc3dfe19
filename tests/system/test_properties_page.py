"""The commands of `docs/properties.md`, run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.running import PASSWORD, RunningGateway

PAGE = Path(__file__).parents[2] / "docs" / "properties.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page(data: Path, tmp_path: Path) -> None:
    """Pasted one after the other they do what the text beside them says."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with RunningGateway(data) as gateway:
        ran = subprocess.run(
            ["sh", "-e", "-c", "".join(f"echo '@ {number}'\n{block}" for number, block in enumerate(blocks))],
            env={**os.environ, "WIKI": gateway.url, "PASSWORD": PASSWORD},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    _, _, created, read, changed, conflict, forced, binary, listed, batch = re.split(r"@ \d\n", ran.stdout)
    assert ">Pizza\n</contents>" in created
    assert read == "Pizza\n"
    assert ".r2_ts" in changed
    assert "<change-description>Friday</change-description>" in changed
    assert conflict == "409\n"
    assert ".r3_ts" in forced
    assert ">Salad\n</contents>" in forced
    assert binary == "200\n"
    assert '"@count":"2"' in listed
    assert 'name="lunch"' in listed
    assert re.findall(r'<status code="(\d+)"', batch) == ["200", "200", "400"]
