"""The effective configurations of a device, its labels and its reports (fleet.md, sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from math import ceil
from typing import Any, NamedTuple

from msgspec import UNSET, json

from hivewire.actions.checks import checked_patterns, expected_of, moved
from hivewire.actions.identity import too_many_revoked
from hivewire.actions.layer import check_labels
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import Device
from hivewire.devices.scope import no_device
from hivewire.dispatch import check_permission
from hivewire.fleet.effective import AS_IT_IS, EffectiveReply, Row, answer_of
from hivewire.fleet.followers import check_follows
from hivewire.fleet.layers import LABEL
from hivewire.fleet.members import Member
from hivewire.fleet.reports import MOST_BYTES, MOST_ERROR, MOST_NAMES, MOST_VALUE, REPORTS, Report
from hivewire.fleet.views import View
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Change, Exists, Expected, Guard, PreconditionFailed, Refused, Transaction, Write
from hivewire.services import Services
from hivewire.slices import in_slices
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    TooLarge,
    TooManyReports,
    WireError,
)
from hivewire_protocol.messages import DONE, NOTHING, Reply
from hivewire_protocol.nouns.device_configuration import (
    DeviceEffective,
    DeviceLabel,
    DeviceLabelReply,
    DeviceReport,
    DeviceRevoke,
    Reported,
    ReportEntry,
)
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import Permission
from hivewire_protocol.tenant.steps import Steps, at_once

AT_ONCE = 500
"""Values in the layers of a device whose effective ones are made at once: about 5 ms."""

TRIES = 3
"""How often effective values are made again because they were edited meanwhile, before they are made at once."""


class Asked(NamedTuple):
    """What a request for effective configurations is about: a device, its view now, and the names. `for_device`: its
    own token asks."""

    member: Member
    view: View
    names: Patterns
    for_device: bool


def effective(services: Services, caller: Caller, request: DeviceEffective) -> Reply | Coroutine[Any, Any, Reply]:
    """The effective configurations of a device, by name, and their layers. Raises AccessDenied, NotFound or TooLarge.

    Many are made in slices, and answered as they were at one moment.
    """
    asked = _asked(services, caller, request)
    if asked.view.size > AT_ONCE:
        return _in_slices(services, caller, request, asked)
    return _shown(services, asked, at_once(_rows(services, asked)))


async def _in_slices(services: Services, caller: Caller, request: DeviceEffective, asked: Asked) -> Reply:
    for _ in range(TRIES):
        rows = await in_slices(_rows(services, asked))
        before, asked = asked, _asked(services, caller, request)
        if rows is not None and asked == before:
            return _shown(services, asked, rows)
    return _shown(services, asked, at_once(_rows(services, asked)))


def _rows(services: Services, asked: Asked) -> Steps[list[Row] | None]:
    return services.effective.of(asked.view, asked.names, for_device=asked.for_device)


def _asked(services: Services, caller: Caller, request: DeviceEffective) -> Asked:
    device = services.registry.reach(caller.identity, request.deviceId)
    manages = caller.identity.may(Permission.GET_CONFIGURATION)
    if not manages:
        check_follows(caller.identity, device.id)
    names = checked_patterns(request.names) & caller.identity.names
    member = _member(services, device)
    return Asked(member, member.view, names, not manages)


def _member(services: Services, device: Device) -> Member:
    if (member := services.fleet.member(device.id)) is None:
        raise no_device(device.id)
    return member


def _shown(services: Services, asked: Asked, rows: list[Row] | None) -> Reply:
    assert rows is not None  # noqa: S101 - nothing was edited
    report, revision = asked.member.report, services.ledger.revision
    if asked.for_device:
        services.fleet.members.reach(asked.member.device.id, asked.view)
        return EffectiveReply(rows, [AS_IT_IS] * len(rows), revision)
    if report is not None and (own := services.effective.own(report, asked.names, rows)):
        rows = sorted([*rows, *own])
    layers = [layer.name for layer in asked.view.layers]
    return EffectiveReply(rows, [answer_of(report, row) for row in rows], revision, layers)


async def label(services: Services, caller: Caller, request: DeviceLabel) -> Reply:
    """Set the labels of a device, or show them. Raises AccessDenied or NotFound."""
    device = services.registry.reach(caller.identity, request.deviceId)
    if request.labels is None:
        last = services.ledger.kind(LABEL).last(device.id)  # perhaps a delete, which a write has to expect too
        return DeviceLabelReply(*((json.decode(last.content or b"{}"), last.revision) if last is not None else ({}, 0)))
    check_permission(caller.identity, Permission.MANAGE_CONFIGURATION)
    labels = dict(sorted(request.labels.items()))
    check_labels(labels, "labels")
    write = Write(LABEL, device.id, json.encode(labels), "application/json", None, expected_of(request))
    guard = Guard(DEVICE, device.id, (Exists(device.record_id),))
    transaction = Transaction([write], caller.identity.login, (guard,))

    def labelled(changes: list[Change]) -> DeviceLabelReply:
        return DeviceLabelReply(labels, UNSET if request.dryRun else changes[0].revision)

    pending = PendingWrite(transaction, labelled, _refusal)
    return await commit(services.ledger, pending.tried(request.dryRun), caller.identity)


def _refusal(refused: Refused) -> WireError:
    if isinstance(refused, PreconditionFailed) and isinstance(refused.failed, Expected):
        return moved(f"The label record of device '{refused.write.key}'", refused.failed, refused.last)
    return no_device(refused.write.key)


def report(services: Services, caller: Caller, request: DeviceReport) -> Reply:
    """Count the report of a device. Raises AccessDenied, NotFound, OutOfBounds, TooLarge or TooManyReports."""
    identity, device_id = caller.identity, request.deviceId
    if device_id is None and len(identity.devices) == 1:
        [device_id] = identity.devices
    device = services.registry.reach(identity, device_id)
    if request.report is None:
        raise InvalidParameters("report is required")
    check_follows(identity, device.id)
    member = _member(services, device)
    said = dict(_entry(each) for each in request.report)
    entries = _known(caller, member.report, said, complete=bool(request.complete))
    for what, found, most in (("a report has", said, 1), ("what a device reports has", entries, REPORTS)):
        if len(found) > MOST_NAMES * most:
            raise TooLarge(f"{what} at most {MOST_NAMES * most:,} names")
        if len(json.encode(found)) > MOST_BYTES * most:
            raise TooLarge(f"{what} at most {MOST_BYTES * most:,} bytes")
    if wait := services.fleet.rates.wait(device.record_id, services.ledger.now() / 1_000):
        raise TooManyReports(TooManyReports.text.format(milliseconds=wait), retryAfter=ceil(wait / 1_000))
    complete = bool(request.complete) or (member.report is not None and member.report.complete)
    services.fleet.report(member, entries, complete=complete)
    return NOTHING


def _known(
    caller: Caller, report: Report | None, said: dict[str, Reported], *, complete: bool
) -> Mapping[str, Reported]:
    """What is known of a device once it has said this. Raises AccessDenied for names that its token does not reach."""
    names, before = caller.identity.names, {} if report is None else report.entries
    if names is EVERYTHING:
        return said if complete else {**before, **said}
    for name in said:
        if name not in names:
            raise AccessDenied.because(f"the name '{name[:128]}' is not among those of the token")
    return {name: entry for name, entry in before.items() if not complete or name not in names} | said


def _entry(given: ReportEntry) -> tuple[str, Reported]:
    if given.name is None:
        raise InvalidParameters("each entry of report needs a name")
    for what, text, most in (("name", given.name, 1_024), ("value", given.value, MOST_VALUE)):
        if text is not None and len(text) > most:
            raise TooLarge(f"{what} of an entry has at most {most:,} characters")
    if given.error is not None and len(given.error) > MOST_ERROR:
        raise TooLarge(f"error of an entry has at most {MOST_ERROR} characters")
    error, value = given.error, given.value
    return given.name, Reported(given.tag, UNSET if error is None else error, UNSET if value is None else value)


async def revoke(services: Services, caller: Caller, request: DeviceRevoke) -> Reply:
    """End the tokens of a device. Raises AccessDenied or NotFound."""
    device = services.registry.reach(caller.identity, request.deviceId)
    transaction = services.tokens.revocations.revoke_device(device.id, now(), caller.identity.login)
    pending = PendingWrite(transaction, lambda changes: DONE, too_many_revoked)
    return await commit(services.ledger, pending.tried(request.dryRun), caller.identity)


READS = {DeviceEffective: effective, DeviceLabel: label, DeviceReport: report, DeviceRevoke: revoke}
