"""The files of the dashboard, without a browser: looks come from tokens, and stored text cannot become markup."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATIC = Path(str(files("hivewire_dashboard") / "static"))
SCRIPTS = sorted(path for path in STATIC.rglob("*.js") if "vendor" not in path.parts)
CLIENT = ROOT / "clients/js/src"

MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|createContextualFragment|setHTML|DOMParser"
    r"|\beval\b|new Function|dangerouslySetInnerHTML|javascript:|\bon\w+=\"|\bstyle=\""
)
"""What makes markup or script of text, or styles that the policy refuses."""

SIZES = re.compile(
    r"#[0-9a-f]{3,8}\b|\brgba?\(|\bhsl|(?<![\w-])(?!0\b|[12]px)[\d.]+(px|em|ms|s)\b|font-size: (?!var|0|inherit)",
    re.IGNORECASE,
)
"""Colours, lengths and times that are not tokens; hairlines of one or two pixels may be written as such."""


LOADED = re.compile(r'from "\./(\w+\.js)"')
"""The other modules of the client that one loads at once; caches and OAuth are loaded by who asks for them."""


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(STATIC).as_posix() for path in paths]


@pytest.mark.parametrize("path", SCRIPTS, ids=names(SCRIPTS))
def test_no_script_makes_markup_of_text(path: Path) -> None:
    """Stored text becomes text nodes."""
    assert not [found[0] for found in MARKUP.finditer(path.read_text())]


def test_the_looks_come_from_the_tokens() -> None:
    """`app.css` has no colour, no time, and no size of type of its own."""
    css = re.sub(r"/\*.*?\*/", "", (STATIC / "app.css").read_text(), flags=re.DOTALL)
    assert not [found[0] for found in SIZES.finditer(css)]
    used = set(re.findall(r"var\((--[\w-]+)\)", css))
    defined = set(re.findall(r"(--[\w-]+):", (STATIC / "tokens.css").read_text() + css))
    assert used <= defined, used - defined
    assert len({name for name in defined if re.fullmatch(r"--type-\d", name)}) == 6


def test_space_is_on_a_grid_of_four_pixels() -> None:
    """Each token of space is a multiple of a quarter of a rem."""
    for name, value in re.findall(r"--(s\d+|row|target|side|tree): ([\d.]+)rem", (STATIC / "tokens.css").read_text()):
        assert float(value) * 16 % 4 == 0, name


@pytest.mark.skipif(not CLIENT.is_dir(), reason="the source of the JavaScript client is not here")
def test_the_client_of_the_dashboard_is_the_one_that_is_published() -> None:
    """`make vendor-client` copies what the pages load of it, and nothing else."""
    vendored = STATIC / "vendor" / "hivewire"
    copied = {path.name: path.read_bytes() for path in vendored.iterdir()}
    assert copied == {name: (CLIENT / name).read_bytes() for name in copied}
    loaded = {"index.js", "entries.js", "http.js"}  # the last one only when something is asked over HTTP
    for _ in copied:
        loaded |= {each for name in loaded for each in LOADED.findall((vendored / name).read_text())}
    assert loaded == set(copied)


def imported(path: Path, found: set[Path]) -> set[Path]:
    """A module and all that it imports at once."""
    if path not in found:
        found.add(path)
        for each in re.findall(r'^(?:import|export)[^;]*?from "([^"]+)"', path.read_text(), re.MULTILINE | re.DOTALL):
            imported((path.parent / each).resolve(), found)
    return found


def test_the_first_screen_is_small() -> None:
    """At most 80 KB compressed: the shell, the table, the client, and what they look like."""
    scripts: set[Path] = set()
    for each in ("app.js", "shell.js", "screens/configurations.js"):
        imported(STATIC / each, scripts)
    found = [*scripts, *(STATIC / name for name in ("index.html", "tokens.css", "app.css", "icon.svg"))]
    assert compressed(found) <= 80_000


def test_all_files_together_are_small() -> None:
    """At most 320 KB compressed, with what others have made and their licences."""
    assert compressed(STATIC.rglob("*")) <= 320_000


def compressed(paths: Iterable[Path]) -> int:
    """The bytes of files, each compressed as the gateway does it."""
    return sum(len(gzip.compress(path.read_bytes())) for path in paths if path.is_file())
