"""The audit as administrators see it."""

from __future__ import annotations

from msgspec import Raw

from hivewire.caller import Caller
from hivewire.ledger.records import AuditFilter
from hivewire.services import Services
from hivewire_protocol import times
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.errors import OutOfBounds
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.audit import AuditList, AuditListed, AuditListReply

TAKE, MOST = 100, 1_000
LEAST_ROW = 150
"""Approximate bytes of an encoded row without its texts."""


async def list_(services: Services, caller: Caller, request: AuditList) -> Reply:
    """A page; it ends early when the reply would be too large. The first page has what was noted until now."""
    take = TAKE if request.take is None else request.take
    if not 0 <= take <= MOST:
        raise OutOfBounds(f"take must be between 0 and {MOST}")
    wanted = AuditFilter(kind=request.kind, subject=request.subject, author=request.user)
    if request.before is None:
        await services.ledger.audit.show()
    found: list[AuditListed] = []
    room = MAX_REPLY // 2
    for row in await services.ledger.audit.read(wanted, before=request.before, take=take):
        room -= LEAST_ROW + len(row.subject) + len(row.detail)
        if room < 0:
            break
        time, detail = times.render(row.time), Raw(row.detail.encode())
        found.append(AuditListed(row.number, time, row.kind, row.subject, row.author, row.address, row.count, detail))
    return AuditListReply(found)


READS = {AuditList: list_}
