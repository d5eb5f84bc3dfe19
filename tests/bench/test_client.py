"""A small run of the benchmark of the Python client."""

from __future__ import annotations

from pathlib import Path

from bench import client


def test_the_client_is_measured(tmp_path: Path) -> None:
    """It reads, writes beside a raw socket, and takes a state; a name takes little memory beside its value."""
    rows = {row.name: row for row in client.rows(tmp_path, 0.5)}
    assert len(rows) == 6 and all(row.value > 0 for row in rows.values())
    assert rows["client: memory of a name beside its value"].met
