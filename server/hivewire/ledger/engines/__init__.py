"""Storage engines, each behind the contract in `journal.py`. They depend neither on one another nor on the ledger.

To add one, write its file or package and put a row into ENGINES, or into SHARED if gateways share its log.
"""

from __future__ import annotations

from pkgutil import resolve_name

from hivewire.ledger.journal import Engine
from hivewire.settings import Settings, SettingsError

PATH = ""

ENGINES = {
    "parent://": "hivewire.ledger.engines.parent.engine:ParentEngine",
    PATH: "hivewire.ledger.engines.sqlite.engine:SqliteEngine",
}
"""The `Engine` for each kind of address: a URL by its scheme (`scheme://`), or a path.

It is called with the settings. It is written as text, so that only the one that is used is loaded.
"""


SHARED = {
    "nats://": "hivewire.ledger.engines.nats.engine:NatsEngine",
    "tls://": "hivewire.ledger.engines.nats.engine:NatsEngine",
}
"""The `Engine` for each scheme of `store`. It is called with the settings, and with the engine of `data` for its local
copy, a `LocalEngine`: engines do not know one another."""


def engine_of(settings: Settings) -> Engine:
    """The engine that keeps the ledger of these settings, chosen only here. Raises SettingsError."""
    scheme, mark, _ = settings.data.partition("://")
    kind = scheme + mark if mark else PATH
    if kind not in ENGINES:  # it may have a password, so it is not shown
        raise SettingsError("data is the path of a file and not an address; that of a log on NATS is the setting store")
    engine: Engine = resolve_name(ENGINES[kind])(settings)
    if settings.store is None:
        return engine
    scheme, mark, _ = settings.store.partition("://")
    if scheme + mark not in SHARED:
        raise SettingsError(f"the address of the store begins with {' or '.join(SHARED)}")
    shared: Engine = resolve_name(SHARED[scheme + mark])(settings, engine)
    return shared
