"""All nouns joined: the one list of everything that can be asked."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from hivewire_protocol import nouns
from hivewire_protocol.messages import Request, action_of

NOUNS = tuple(sorted(module.name for module in iter_modules(nouns.__path__)))
"""The names of the modules in `nouns`, such as `configuration`."""


def _requests(noun: str) -> list[type[Request]]:
    module = import_module(f"{nouns.__name__}.{noun}")
    return [
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Request) and found.__module__ == module.__name__
    ]


REQUESTS: dict[str, type[Request]] = {action_of(found): found for noun in NOUNS for found in _requests(noun)}
"""Action name to request struct, noun by noun."""
