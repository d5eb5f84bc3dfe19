"""The paths of the audit."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.audit import AuditList

ROWS = (Row("GET", "/audit", AuditList),)
