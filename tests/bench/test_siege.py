"""A short run of `make siege`."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.timeout(600)
def test_a_client_with_a_token_is_served_while_anonymous_connections_attack() -> None:
    """It is never refused and misses no push, and the memory of the gateway stays bounded."""
    command = [sys.executable, "-m", "bench.siege", "--short", "--seconds", "0.3"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=540)
    assert found.returncode == 0, found.stdout + found.stderr
