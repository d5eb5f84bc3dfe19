"""A small run of the benchmark in which watchers come back after a restart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench import measures


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_watchers_come_back_with_and_without_tls(tmp_path: Path) -> None:
    """Each of them gets what it missed, while a writer is answered."""
    rows = measures.returning(tmp_path, print, watchers=20)
    assert [row.name.startswith("20 watchers come back over TLS") for row in rows] == [False] * 5 + [True] * 5
    assert all(row.value > 0 for row in rows if "core" not in row.name and "processor" not in row.name)
