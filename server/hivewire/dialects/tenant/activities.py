"""Activities that clients of a tenant report: rows of the audit (tenant configuration, section 2.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial

from hivewire.clocks import now
from hivewire.dialects.tenant.calls import TenantCall, TenantCallers, number, read_body, value
from hivewire.http.response import JSON, Response, streamed
from hivewire.http.routes import Context, Route
from hivewire.ledger.audit import ACTIVITY, Audit
from hivewire.ledger.records import AuditFilter, AuditRow
from hivewire_protocol.encoding import encode
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.tenant.documents import parse, render
from hivewire_protocol.tenant.steps import at_once

PATH = "/reltio/api/{tenantId}/activities"

ACTIVITY_BYTES = 16 << 10
"""Largest activity. Together with the limit on their number it bounds the space that they take on the disk."""

MAX, MOST, MOST_OFFSET = 20, 1_000, 1_000_000
PAGE = 100
"""Activities that are read at a time."""

SERVER_MEMBERS = ("uri", "user", "timestamp")


def routes(context: Context, callers: TenantCallers) -> Iterator[Route[TenantCall]]:
    """Posting and reading activities; both need READ in the tenant."""
    activities = Activities(context)
    for method, handle, action in (
        ("POST", activities.post, "activity/post"),
        ("GET", activities.list_, "activity/list"),
    ):
        yield Route(method, PATH, partial(callers.having, Privilege.READ), handle, action)


class Activities:
    """The activities of all tenants."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._audit: Audit = context.dispatcher.services.ledger.audit

    async def post(self, call: TenantCall) -> Response:
        """Store an activity, any JSON object. The answer is the stored one, once it is durable."""
        async with read_body(call.request, self._context.admission, ACTIVITY_BYTES) as body:
            activity = at_once(parse(body))
        call.check_right()
        given = {member: activity[member] for member in activity if member not in SERVER_MEMBERS}
        if (identifier := call.request.header("activityid")) and "activityID" not in given:
            given["activityID"] = identifier[:128]
        detail = render(given).decode()
        row = AuditRow(now(), ACTIVITY, call.tenant, call.record_id, call.identity.login, call.address, detail=detail)
        await self._audit.write(row)
        return Response(200, render({"user": row.author, "timestamp": row.time} | given), JSON)

    async def list_(self, call: TenantCall) -> Response:
        """Activities of the tenant, newest first; `max` and `offset` page them, `user` names who posted them."""
        most, offset = number(call, "max", MAX, MOST), number(call, "offset", 0, MOST_OFFSET)
        wanted = AuditFilter(ACTIVITY, subject=call.tenant, record_id=call.record_id, author=value(call, "user"))

        async def pieces() -> AsyncIterator[bytes]:
            lead, skip, left = b"[", offset, most
            before: int | None = None
            while left > 0 and (rows := await self._audit.read(wanted, before=before, take=min(left, PAGE), skip=skip)):
                for row in rows:
                    yield lead + _shown(row)
                    lead = b","
                left, skip, before = left - len(rows), 0, rows[-1].number
            yield b"]" if lead == b"," else b"[]"

        return streamed(pieces(), JSON, check=call.still_right())


def _shown(row: AuditRow) -> bytes:
    head = encode({"uri": f"activities/{row.number}", "user": row.author, "timestamp": row.time})
    return head if row.detail == "{}" else b"%b,%b" % (head[:-1], row.detail[1:].encode())
