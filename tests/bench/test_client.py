"""A small run of the benchmark of the Python client."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import client


def test_the_client_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads, writes beside a raw socket, takes a state and comes back; a name takes little memory."""
    monkeypatch.setattr(client, "CLIENTS", 60)
    rows = {row.name: row for row in client.rows(tmp_path, 0.5)}
    assert len(rows) == 7 and all(row.value > 0 for row in rows.values())
    assert rows["client: memory of a name beside its value"].met
