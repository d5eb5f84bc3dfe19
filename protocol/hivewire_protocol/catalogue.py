"""All nouns joined: everything that can be asked, and everything that is pushed.

A noun is a module in `nouns`. Its classes are found by what they derive from, so a new request or push needs no entry
in any list.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar

from hivewire_protocol import nouns
from hivewire_protocol.messages import Push, Request, action_of

_Message = TypeVar("_Message", Request, Push)

NOUNS = tuple(sorted(module.name for module in iter_modules(nouns.__path__)))
"""The names of the modules in `nouns`, such as `configuration`."""


def _found(base: type[_Message]) -> dict[str, type[_Message]]:
    """The classes that derive from `base`, by action, in the order in which they stand in the modules."""
    modules = [import_module(f"{nouns.__name__}.{noun}") for noun in NOUNS]
    return {
        action_of(each): each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, base) and each.__module__ == module.__name__
    }


_ALL = _found(Request)

REQUESTS: dict[str, type[Request]] = {action: each for action, each in _ALL.items() if not each.http_only}
"""Action name to request struct, noun by noun."""

HTTP_ONLY: dict[str, type[Request]] = {action: each for action, each in _ALL.items() if each.http_only}
"""The same of what sockets do not know."""

PUSHES: dict[str, type[Push]] = _found(Push)
"""Action name to push struct, noun by noun."""
