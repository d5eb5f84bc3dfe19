"""Errors between a command and a gateway. This module loads no network library."""

from __future__ import annotations

import re
from typing import Any

import click

FORM = "hivewire.form"
"""Where the context of a command keeps the form of its output. Errors are printed in it too."""

ADDRESS = "hivewire.address"
"""Where the context of a command keeps the address that it has from HIVEWIRE_URL. Errors about it name the variable."""


class RemoteError(Exception):
    """The gateway refused a request: the code, the message and the whole reply."""

    def __init__(self, code: int, text: str, reply: dict[str, Any]) -> None:
        super().__init__(_rules(text))
        self.code = code
        self.reply = reply


_MANY = "Error! Make sure, that the passed object is correct and properly structured. Validation failed: "


def _rules(text: str) -> str:
    """DeviceHive's error about several members in short: what each has to be. Other errors stay as they are."""
    before, _, broken = text.partition(_MANY)
    found = re.findall(r"On property (\w+) \(value: .*?\): (.*?) ; ", broken, re.DOTALL)
    return before + "; ".join(f"{member}: {rule}" for member, rule in found) if found else text


class RefusedByGateway(click.ClickException):
    """The same, with hints for the user. `code` is the gateway's."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class BadInput(click.ClickException):
    """A file or standard input does not hold what the command reads; the message says which, where and why."""

    exit_code = 2


class Unreachable(Exception):
    """The gateway cannot be reached: nothing listens, TLS fails, the peer is not a gateway, or the connection broke."""


class Closed(Unreachable):
    """The connection ended. `code` and `reason` are the gateway's; None and empty without a close frame."""

    def __init__(self, text: str, code: int | None, reason: str) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason


class BadAddress(ValueError):
    """The text is not the address of a gateway."""


class Unsendable(ValueError):
    """The data to send is not Unicode text. Arguments of a command are bytes, so they can be anything."""
