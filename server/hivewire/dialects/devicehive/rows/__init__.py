"""The paths of DeviceHive's REST dialect and of our own additions to it: one module for each noun, each with a table.

New modules are found automatically.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from hivewire.dialects.devicehive.row import Row

NOUNS = sorted(module.name for module in iter_modules(__path__))

ROWS: tuple[Row, ...] = tuple(row for noun in NOUNS for row in import_module(f"{__name__}.{noun}").ROWS)
"""All rows, noun by noun."""
