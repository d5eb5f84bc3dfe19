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
    """A relative link of a page leads to a file of the repository, and its fragment to a heading there."""
    for page in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))]:
        for target, _, fragment in _links(page):
            file = page.parent / target if target else page
            assert file.exists(), f"{page.name} links to {target}"
            assert not fragment or fragment in _anchors(file), f"{page.name} links to {target}#{fragment}"


def test_every_place_to_add_something_is_there() -> None:
    """Paths in the table of CONTRIBUTING.md lead to files and folders, and a name before one stands in that file."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| to add | touch |")[2].partition("\n\n")[0]
    paths = re.findall(r"`((?:server|protocol|dashboard|tests)/[\w./<>]*)`", table)
    assert len(paths) > 30
    for path in paths:
        assert [*ROOT.glob(re.sub(r"<\w+>", "*", path))], f"CONTRIBUTING.md names {path}"
    for name, path in re.findall(r"`([A-Z_]+|\w+)`,? (?:of|in) `((?:\w+/)+\w+\.py)`", table):
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), f"CONTRIBUTING.md names {name} in {path}"


def test_every_test_that_the_documentation_names_is_there() -> None:
    """A claim that names `tests/file.py::test_name` can be tried as it says."""
    found = 0
    for page in [tables.README, *sorted((ROOT / "docs").glob("*.md"))]:
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::(?:\w+::)?(\w+)`", page.read_text()):
            assert re.search(rf"def {name}\(|class {name}\b", (ROOT / file).read_text()), f"{page.name} names {name}"
            found += 1
    assert found


def test_the_readme_stays_short() -> None:
    """What does not fit has a page of its own."""
    assert len(tables.README.read_bytes()) <= 9_000


def test_the_architecture_page_names_every_package() -> None:
    """Its tree has each package and module of the gateway and of the protocol, and no other."""
    tree = (ROOT / "docs" / "architecture.md").read_text().partition("```text\n")[2].partition("```")[0]
    for package in ("server/hivewire", "protocol/hivewire_protocol"):
        part = tree.partition(f"{package}/ ")[2].partition("\n")[2]
        part = re.split(r"^\S", part, maxsplit=1, flags=re.MULTILINE)[0]
        # One entry or several stand before the text that explains them, two spaces or more away.
        entries = [re.split(r" {3,}", line.strip())[0] for line in part.splitlines() if not line.startswith(" " * 8)]
        named = {name.removesuffix("/").removesuffix(".py") for entry in entries for name in entry.split()}
        found = {
            path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
        }
        assert named == found - {"__init__", "__main__"}


def _links(page: Path) -> list[tuple[str, str, str]]:
    parts = page.read_text().split("](")[1:]
    targets = [part.partition(")")[0] for part in parts]
    return [target.partition("#") for target in targets if "://" not in target]


def _anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub writes them in addresses."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
