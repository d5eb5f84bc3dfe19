"""The run that the pages quote was made by the benchmark as it is."""

from __future__ import annotations

import json
from pathlib import Path

from bench.measures import AT_LEAST, AT_MOST

RUN = Path("docs/benchmark.json")


def test_the_quoted_run_has_every_row_with_a_bound_and_the_same_bounds() -> None:
    """Whoever changes a bound or such a row makes a new run (`make bench`, then `python -m tests.tables`)."""
    rows = {row["name"]: row for row in json.loads(RUN.read_text())["rows"]}
    assert {name: rows.get(name, {}).get("at_least") for name in AT_LEAST} == AT_LEAST
    assert {name: rows.get(name, {}).get("at_most") for name in AT_MOST} == AT_MOST
