"""The targets of the fuzzer, without the fuzzer: over their seeds, over the cases it found, and over seeds changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import SLOWEST
from tests.fuzz.targets import TARGETS

CASES = Path(__file__).parent / "cases"
KEPT = sorted(path.relative_to(CASES) for path in CASES.glob("*/*"))

_pieces = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [b'"', b"\\ud800", b"[" * 70, b"<", b"&#0;", b"%25", b"\xff", b"\0", b"*", b"9" * 20, b"-", b"null"]
    ),
)


@pytest.mark.parametrize(
    ("target", "seed"), [(name, seed) for name, target in TARGETS.items() for seed in range(len(target.seeds))]
)
def test_a_seed(target: str, seed: int) -> None:
    """A target returns for its seeds, or raises a documented exception."""
    TARGETS[target](TARGETS[target].seeds[seed])


@pytest.mark.timeout(SLOWEST)
@pytest.mark.parametrize("case", KEPT, ids=str)
def test_a_kept_case(case: Path) -> None:
    """Every input with which the fuzzer found a bug is handled correctly."""
    TARGETS[case.parts[0]]((CASES / case).read_bytes())


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=20)
@given(data=st.data())
def test_changed_seeds(target: str, data: st.DataObject) -> None:
    """Seeds with a few spans replaced: a short run of what the fuzzer does for longer."""
    changed = bytearray(data.draw(st.sampled_from(TARGETS[target].seeds)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(changed)))
        changed[start : start + data.draw(st.integers(0, 8))] = data.draw(_pieces)
    TARGETS[target](bytes(changed))


def test_every_folder_of_cases_has_its_target() -> None:
    """A case in a folder without a target would never run."""
    assert {case.parts[0] for case in KEPT} <= set(TARGETS)
