"""Why a gateway does not follow a shared log any more."""

from __future__ import annotations

from msgspec import Struct


class Stopped(Struct, frozen=True):
    """The reason is for the operator; `again`: the gateway may restart, with the present log."""

    reason: str
    again: bool
