"""Node, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

import pytest

from tests.running import PATIENCE

NODE = shutil.which("node")

needs_websocket = pytest.mark.usefixtures("node_with_websocket")
"""A fixture, not a condition: that would start Node in each process of the suite, also where no such test runs."""


@cache
def has_websocket() -> bool:
    """Whether this Node knows the browsers' WebSocket."""
    if NODE is None:
        return False
    probe = [NODE, "--experimental-websocket", "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"]
    return subprocess.run(probe, capture_output=True, timeout=PATIENCE).returncode == 0
