"""Storage engines, each behind the contract in `journal.py`. They depend neither on one another nor on the ledger.

To add one, write its file or package and put a row into ENGINES.
"""

from __future__ import annotations

from pkgutil import resolve_name

from hivewire.ledger.journal import Engine
from hivewire.settings import Settings

PATH = ""

ENGINES = {
    PATH: "hivewire.ledger.engines.sqlite.engine:SqliteEngine",
}
"""The `Engine` for each kind of address: a URL by its scheme (`scheme://`), and everything else, which is a path.

It is called with the settings. It is written as text, so that only the one that is used is loaded.
"""


def engine_of(settings: Settings) -> Engine:
    """The engine that keeps the ledger of these settings. The one place that chooses an engine."""
    scheme, mark, _ = settings.data.partition("://")
    engine: Engine = resolve_name(ENGINES.get(scheme + mark, ENGINES[PATH]))(settings)
    return engine
