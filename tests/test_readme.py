"""The README is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import tables

ROOT = tables.README.parent


@pytest.mark.parametrize("page", [*tables.PAGES, *tables.WHOLE], ids=lambda page: page.name)
def test_the_tables_say_what_the_code_does(page: Path) -> None:
    """Actions, pushes, errors, close codes, settings and the rules of documents stand there as they are in the code."""
    assert page.read_text() == tables.up_to_date(page), "run `python -m tests.tables`"


def test_every_file_that_the_documentation_names_is_there() -> None:
    """A relative link in the README or the docs leads to a file of the repository."""
    for page in [tables.README, *sorted((ROOT / "docs").glob("*.md"))]:
        for target in _links(page):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_test_that_the_documentation_names_is_there() -> None:
    """A claim that names `tests/file.py::test_name` can be tried as it says."""
    found = 0
    for page in [tables.README, *sorted((ROOT / "docs").glob("*.md"))]:
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::(?:\w+::)?(\w+)`", page.read_text()):
            assert re.search(rf"def {name}\(|class {name}\b", (ROOT / file).read_text()), f"{page.name} names {name}"
            found += 1
    assert found


def _links(page: Path) -> list[str]:
    parts = page.read_text().split("](")[1:]
    targets = [part.partition(")")[0].partition("#")[0] for part in parts]
    return [target for target in targets if target and "://" not in target]
