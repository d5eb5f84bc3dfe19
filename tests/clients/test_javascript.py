"""The JavaScript client: its suite in Node, against a real gateway; and its types."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.clients.javascript import CLIENT, serving_world
from tests.gate.test_browser import NODE, needs_websocket
from tests.running import PATIENCE


@needs_websocket
def test_the_suite_passes_in_node(tmp_path: Path) -> None:
    """Every promise of the client holds in Node."""
    assert NODE is not None
    with serving_world(tmp_path) as world:
        ran = subprocess.run(
            [NODE, "--experimental-websocket", "--no-warnings", "--test", "--test-reporter=tap", "test/node.js"],
            cwd=CLIENT,
            env={**os.environ, "HIVEWIRE_WORLD": world},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
