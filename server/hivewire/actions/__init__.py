"""The handlers of requests: one module for each noun of the protocol, with its tables at the end.

A handler gets the services, the caller and the request. It returns a reply at once; or, if it stands in WRITES, a
PendingWrite; or a coroutine when it has to wait for something else. It raises WireError, and never publishes or sends.
"""

from __future__ import annotations

from importlib import import_module

from hivewire.dispatch import Handler
from hivewire_protocol.catalogue import NOUNS
from hivewire_protocol.messages import Request

READS: dict[type[Request], Handler] = {}
WRITES: dict[type[Request], Handler] = {}

for _noun in NOUNS:
    _module = import_module(f"{__name__}.{_noun}")
    READS.update(getattr(_module, "READS", {}))
    WRITES.update(getattr(_module, "WRITES", {}))
