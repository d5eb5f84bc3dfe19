"""What entries of the ledger hold."""

from __future__ import annotations

from collections.abc import Sequence
from sys import intern

from msgspec import Struct

from hivewire.ledger.records import AuditRow, Change

FORMAT = 1
"""The form of entries and checkpoints. A gateway that meets another one stops."""


class Body(Struct, array_like=True):
    """Changes, and rows of the audit."""

    changes: list[Change]
    rows: list[AuditRow] = []


def share(changes: Sequence[Change]) -> None:
    """Let changes share their strings: a million records share a handful of kinds, types and authors."""
    for change in changes:
        change.kind = intern(change.kind)
        change.content_type = intern(change.content_type)
        if change.author is not None:
            change.author = intern(change.author)
