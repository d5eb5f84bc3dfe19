"""A tenant's configuration over HTTP: the whole document, its history, and single types and parts of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote

from hivewire.dialects.tenant.calls import TenantCall, TenantCallers, number, read_body, value, values
from hivewire.documents import Save, Stored
from hivewire.http.operations import REVISION
from hivewire.http.response import JSON, Response, streamed
from hivewire.http.routes import Context, Route
from hivewire.keyed_lock import KeyedLock
from hivewire_protocol.encoding import encode
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.tenant.dates import http_date
from hivewire_protocol.tenant.documents import render
from hivewire_protocol.tenant.errors import (
    BadRequest,
    NotDefined,
    validation_answer,
)
from hivewire_protocol.tenant.work import Edit

_T = TypeVar("_T")

HISTORY_MAX = 10
"""Versions in a history answer when `max` is not given (section 2.1)."""

MOST_HISTORY = 1_000

PURGES = ("purgeAttributes", "purgeAllData")
"""What should happen to the data of a deleted source (section 2.4); this gateway stores none."""

CONFIGURATION = "/reltio/api/{tenantId}/configuration"


def routes(context: Context, callers: TenantCallers) -> Iterator[Route[TenantCall]]:
    """The routes of documents. A path without a fixed word is the address of a type or part."""
    pages = DocumentPages(context)
    part = CONFIGURATION + "/{address:path}"
    for method, path, privilege, handle in (
        ("GET", CONFIGURATION, Privilege.READ, pages.get),
        ("PUT", CONFIGURATION, Privilege.UPDATE, pages.put),
        ("GET", CONFIGURATION + "/_noInheritance", Privilege.READ, pages.own),
        ("GET", CONFIGURATION + "/_noinheritance", Privilege.READ, pages.own),
        ("GET", CONFIGURATION + "/_history", Privilege.READ, pages.history),
        ("POST", CONFIGURATION + "/_validation", Privilege.READ, pages.validate),
        ("GET", CONFIGURATION + "/_validateTenantConfiguration", Privilege.READ, pages.validate_stored),
        ("GET", "/reltio/tenants/{tenantId}/_validateTenantConfiguration", Privilege.READ, pages.validate_stored),
        ("GET", part, Privilege.READ, pages.get_part),
        ("POST", part, Privilege.CREATE, pages.insert),
        ("PUT", part, Privilege.UPDATE, pages.replace),
        ("DELETE", part, Privilege.DELETE, pages.remove),
    ):
        admit, action = partial(callers.having, privilege), f"document/{handle.__name__}"
        yield Route(method, path, admit, handle, action, also_name="configuration/_" in path)


class DocumentPages:
    """The handlers of documents over HTTP."""

    def __init__(self, context: Context) -> None:
        services = context.dispatcher.services
        self._admission = context.admission
        self._limit = services.settings.document_bytes
        self._documents = services.documents
        self._validations: KeyedLock[str] = KeyedLock()

    # The whole document.

    async def get(self, call: TenantCall) -> Response:
        """The document as it was saved, or some collections of it, or with the caller's rights in each element."""
        stored = self._stored(call)
        names = [name for given in values(call, "select") for name in given.split(",") if name]
        access = "showAccess" in ",".join(values(call, "options")).split(",")
        if not names and not access:
            return _document(stored)
        made = self._documents.collections(stored, names, [*call.may] if access else None)
        found = await _while_allowed(call, made)
        return Response(200, found, JSON, _date_headers(stored))

    async def own(self, call: TenantCall) -> Response:
        """The document as it was saved; an empty one before that (section 13, row 2)."""
        stored = self._documents.stored(call.tenant)
        return _document(stored) if stored is not None else _json({})

    async def put(self, call: TenantCall) -> Response:
        """Replace the document (section 3)."""
        async with read_body(call.request, self._admission, self._limit) as body:
            since = call.request.all("if-unmodified-since")
            save = await self._documents.save(call.author, body, since)
            return Response(200, save.version.view, JSON, _save_headers(save))

    async def history(self, call: TenantCall) -> Response:
        """Versions, newest first. Each is sent before the next is read, so that only one is in memory."""
        most = number(call, "max", HISTORY_MAX, MOST_HISTORY)
        offset = number(call, "offset", 0, MOST_HISTORY)
        stored = self._documents.stored(call.tenant)

        async def pieces() -> AsyncIterator[bytes]:
            lead = b"["
            if stored is not None:
                async for version in self._documents.history(stored, most, offset):
                    header = version.header
                    tail = encode({"timestamp": header.updatedTime, "updatedBy": header.updatedBy})
                    yield b"".join((lead, b'{"configuration":', version.view, b",", tail[1:]))
                    lead = b","
            yield b"]" if lead == b"," else b"[]"

        return streamed(pieces(), JSON, check=call.still_right())

    async def validate(self, call: TenantCall) -> Response:
        """The findings in a document, which is not saved."""
        level = _level(call)
        # The lock is taken before the body is read, so that callers with only READ occupy one body of a tenant at a
        # time.
        async with self._validations.lock(call.tenant), read_body(call.request, self._admission, self._limit) as body:
            return _json(validation_answer(await self._documents.find(call.tenant, body), level))

    async def validate_stored(self, call: TenantCall) -> Response:
        """The findings in the stored document."""
        level, stored = _level(call), self._stored(call)
        found = await _while_allowed(call, self._documents.find(call.tenant, stored.document))
        return _json(validation_answer(found, level))

    def _stored(self, call: TenantCall) -> Stored:
        stored = self._documents.stored(call.tenant)
        if stored is None:
            raise NotDefined(f"Tenant {call.tenant!r} has no configuration yet")
        return stored

    # One type, one part of it, or a source (sections 2.2 to 2.4).

    async def get_part(self, call: TenantCall) -> Response:
        """A collection, a type, or a part of one."""
        address = _address(call)
        stored = self._stored(call)
        found = await _while_allowed(call, self._documents.part(stored, address))
        return Response(200, found, JSON, _date_headers(stored))

    async def insert(self, call: TenantCall) -> Response:
        """Add one."""
        return await self._edit(call, Edit("insert", _address(call)), 201)

    async def replace(self, call: TenantCall) -> Response:
        """Replace it. The answer for a survivorship group is 202 (section 2.3)."""
        address = _address(call)
        status = 202 if "survivorshipGroups" in address[2:3] else 200
        return await self._edit(call, Edit("replace", address), status)

    async def remove(self, call: TenantCall) -> Response:
        """Remove it: 204, but 200 with a body for a survivorship group and a source.

        The body for a source names the task that purges its data (section 2.4). The gateway stores no such data, so the
        task is always completed.
        """
        address = _address(call)
        option = value(call, "option")
        option = PURGES[0] if option is None else option
        if address[0] == "sources" and option not in PURGES:
            raise BadRequest(f"option is one of {', '.join(PURGES)}")
        since = call.request.all("if-unmodified-since")
        save = await self._documents.save(call.author, None, since, Edit("remove", address))
        if "survivorshipGroups" in address[2:3]:
            return _json({"successful": True}, headers=_save_headers(save))
        if address[0] == "sources":
            task = {"id": str(save.version.change.revision), "type": option, "status": "COMPLETED"}
            uri = f"configuration/{'/'.join(address)}"
            return _json({"uri": uri, "successful": True, "backgroundTask": task}, headers=_save_headers(save))
        return Response(204, headers=_save_headers(save))

    async def _edit(self, call: TenantCall, edit: Edit, status: int) -> Response:
        async with read_body(call.request, self._admission, self._limit) as body:
            since = call.request.all("if-unmodified-since")
            save = await self._documents.save(call.author, body, since, edit)
        return Response(status, save.part, JSON, _save_headers(save))


# The path, the query, the answer.


async def _while_allowed(call: TenantCall, work: Awaitable[_T]) -> _T:
    """The result of work that may take seconds, in which the caller may lose its right. Raises WireError then."""
    check = call.still_right()
    found = await work
    check()
    return found


def _address(call: TenantCall) -> tuple[str, ...]:
    """The path below `configuration`, unquoted. The path is still percent-encoded, so a name may have a slash in it."""
    return tuple(unquote(segment) for segment in call.request.parameters["address"].rstrip("/").split("/"))


def _level(call: TenantCall) -> str:
    """The value of `validationErrorLevel`. Raises BadRequest for an invalid one, before the body is read."""
    level = value(call, "validationErrorLevel")
    level = "all" if level is None else level
    validation_answer((), level)
    return level


def _date_headers(stored: Stored) -> dict[str, str]:
    return {"Last-Modified": http_date(stored.header.updatedTime)}


def _save_headers(save: Save) -> dict[str, str]:
    """Headers of the answer to a save; with the number of warnings, if there are any."""
    warnings = save.version.header.warnings
    headers = _date_headers(save.version) | {REVISION.name: str(save.version.change.revision)}
    return headers | ({"Hivewire-Warnings": str(warnings)} if warnings else {})


def _document(stored: Stored) -> Response:
    return Response(200, stored.view, JSON, _date_headers(stored))


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(200, render(value), JSON, headers or {})
