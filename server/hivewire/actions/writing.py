"""Writes of configurations: what the requests that put, delete and transact have in common."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from msgspec import structs

from hivewire.actions.checks import (
    Expecting,
    check_token,
    description_of,
    expected_of,
    out_of_length,
    out_of_reach,
    violations,
)
from hivewire.actions.layered import check_write, conditions
from hivewire.caller import Caller
from hivewire.fleet import effect
from hivewire.fleet.conditions import guards_of, layers_of
from hivewire.ledger.pending import PendingWrite
from hivewire.ledger.records import (
    Change,
    Precondition,
    Transaction,
    Write,
)
from hivewire.resources import KIND, LAYERED
from hivewire.services import Services
from hivewire.slices import in_slices
from hivewire_protocol.errors import (
    InvalidParameters,
    OutOfBounds,
)
from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.nouns.configuration import (
    RESERVED,
    TEXT,
    ConfigurationDelete,
    ConfigurationPut,
    ConfigurationReply,
    ConfigurationRollback,
    RevisionReply,
    TransactChange,
    forbidden_character,
    is_json,
    is_media_type,
    json_problem,
)
from hivewire_protocol.nouns.device import MAX_DEVICE_ID
from hivewire_protocol.nouns.layer import key_of, split
from hivewire_protocol.patterns import EVERYTHING

Judged: TypeAlias = PendingWrite[Reply] | Coroutine[Any, Any, PendingWrite[Reply]]
"""A write whose value fits the schema of its name, or what finds that out."""


class Ref(NamedTuple):
    """Which configuration a request is about: kind and key of its record, its name, and its layer if it is in one."""

    kind: str
    key: str
    name: str
    layer: str | None


def ref_to_write(services: Services, caller: Caller, name: str, layer: str | None) -> Ref:
    """The layer and name that a write request addresses. Raises as `check_write`."""
    if layer is None:
        return Ref(KIND, name, name, None)
    check_write(services, caller, layer)
    return Ref(LAYERED, key_of(layer, name), name, layer)


def preconditions(services: Services, ref: Ref, request: Expecting) -> tuple[Precondition, ...]:
    """What a request expects of what it writes, and for a value in a layer what holds for each write there."""
    expected = expected_of(request)
    return expected if ref.layer is None else (*expected, *conditions(services, ref.layer, ref.name))


def put_of(services: Services, caller: Caller, request: ConfigurationPut | TransactChange) -> Write:
    """The write of a put."""
    name = name_to_put(services, caller, request.name, request.layer)
    settings = services.settings
    value = request.value
    if value is None:
        raise violations([("value", None, "value field cannot be null.")])
    if not 1 <= len(value) <= settings.value_length:
        raise out_of_length("Value", value, settings.value_length, "value_length")
    content, content_type = value.encode(), TEXT
    if request.contentType is not None:
        content_type = request.contentType
        check_type(content_type, content, request.check)
    description = request.description and description_of(services, request.description)
    if request.layer is not None:
        ref = ref_to_write(services, caller, name, request.layer)
        return Write(ref.kind, ref.key, content, content_type, description, preconditions(services, ref, request))
    return Write(KIND, name, content, content_type, description, expected_of(request))


def delete_of(services: Services, caller: Caller, request: ConfigurationDelete | TransactChange) -> Write:
    """The write of a delete."""
    name, description = name_of(services, caller, request.name), description_of(services, request.description)
    ref = ref_to_write(services, caller, name, request.layer)
    return Write(ref.kind, ref.key, None, "", description, preconditions(services, ref, request))


def check_type(content_type: str, content: bytes, check: bool | None = None) -> None:
    """Raise OutOfBounds for an invalid media type, and for content of a JSON type that is not valid JSON."""
    if not is_media_type(content_type):
        raise OutOfBounds("contentType must be a media type such as application/json")
    if check is not False and is_json(content_type) and (problem := json_problem(content)) is not None:
        raise OutOfBounds(f"Value is not valid JSON, which its contentType requires: {problem}")


def name_to_put(services: Services, caller: Caller, given: str | None, layer: str | None) -> str:
    """The name of a configuration that is to be put, if the caller may."""
    name, most = name_of(services, caller, given), services.settings.name_length
    # A longer name may have been written through another dialect; then it can be written here too.
    fits = 1 <= len(name) <= most
    if not (fits and name.isprintable()) and (layer is not None or services.ledger.get(KIND, name) is None):
        if not fits:
            raise out_of_length("Name", name, most, "name_length")
        _refuse_characters(name)
    return name


def name_of(services: Services, caller: Caller, name: str | None) -> str:
    """The name of a request, if the caller may use it.

    DEL and C1 characters were allowed once. A name that has them can still be read and deleted while it is known.
    """
    if name is None:
        raise InvalidParameters("Configuration name is wrong or empty")
    names = caller.identity.names
    if name == RESERVED or (names is not EVERYTHING and name not in names):
        raise out_of_reach(name)
    if not name.isprintable() and services.ledger.kind(KIND).last(name) is None:
        _refuse_characters(name)
    return name


def _refuse_characters(name: str) -> None:
    if (where := forbidden_character(name)) is not None:
        raise OutOfBounds(f"Configuration name has a forbidden character: {where}")


def pending_of(
    services: Services,
    caller: Caller,
    write: Write,
    request: ConfigurationPut | ConfigurationDelete | ConfigurationRollback,
    answer: Callable[[list[Change]], Reply],
) -> PendingWrite[Reply]:
    """The write of one configuration, or its dry run."""
    refuse_device(request)
    transaction = Transaction((write,), caller.identity.login)
    if request.layer is not None:
        transaction.guards = guards_of((write,))
    if request.dryRun:
        transaction.dry_run = True
        answer = _would_delete if write.content is None else partial(_would_write, services)
    return PendingWrite(transaction, answer, services.resources.refusal)


def refuse_device(request: Request) -> None:
    """Raise InvalidParameters for a `deviceId`: without a layer no device sees what is written."""
    if request.deviceId is not None:
        raise InvalidParameters(f"name the layer device/{request.deviceId[:MAX_DEVICE_ID]}")


def judged(services: Services, caller: Caller, pending: PendingWrite[Reply]) -> Judged:
    """The write of one configuration, if its value fits the schema of its name. Raises DoesNotFit."""
    fits = services.schemas.check(pending.transaction.writes[0])
    return pending if fits else settled(services, caller, pending)


async def settled(services: Services, caller: Caller, pending: PendingWrite[Reply]) -> PendingWrite[Reply]:
    """The write, once it is known that its values fit their schemas, where that takes long. Raises DoesNotFit."""
    await services.schemas.settle(pending.transaction)
    check_token(services, caller)  # it may have ended meanwhile, or no longer reach all devices of a layer
    for layer in layers_of(pending.transaction.writes):
        check_write(services, caller, layer)
    return pending


async def affecting_of(services: Services, caller: Caller, pending: PendingWrite[Reply]) -> PendingWrite[Reply]:
    """The dry run of writes in layers; its reply says which devices they are about. Raises DoesNotFit."""
    pending = await settled(services, caller, pending)
    names: dict[str, list[str]] = {}
    for write in pending.transaction.writes:
        if write.kind == LAYERED:
            layer, name = split(write.key)
            names.setdefault(layer, []).append(name)
    affects = await in_slices(effect.of_names(services.fleet, names))
    answer: Callable[[list[Change]], Any] = pending.answer
    pending.answer = lambda changes: structs.replace(answer(changes), affects=affects)
    return pending


def _would_write(services: Services, changes: list[Change]) -> Reply:
    return ConfigurationReply(services.resources.of(changes[0]), dryRun=True)


def _would_delete(changes: list[Change]) -> Reply:
    return RevisionReply(dryRun=True)
