"""What entries of the ledger hold."""

from __future__ import annotations

from msgspec import Struct

from hivewire.ledger.records import AuditRow, Change

FORMAT = 1
"""The form of entries and checkpoints. A gateway that meets another one stops."""


class Body(Struct, array_like=True):
    """Changes, and rows of the audit."""

    changes: list[Change]
    rows: list[AuditRow] = []
