"""One target under atheris, in this process: `python -m tests.fuzz.one TARGET [libFuzzer's options]`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(
    include=["hivewire_protocol", "hivewire", "websockets", "defusedxml", "jwt", "json", "urllib"]
):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
