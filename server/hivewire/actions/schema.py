"""The handlers of schemas (fleet configuration, section 7)."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from hivewire.actions.checks import (
    check_token,
    description_of,
    expected_of,
    moved,
    out_of_length,
    out_of_reach,
    within,
)
from hivewire.caller import Caller
from hivewire.fleet.rollouts import OPEN, ROLLOUT, content_of
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import (
    Change,
    EvaluatedState,
    Expected,
    Precondition,
    PreconditionFailed,
    Refused,
    Transaction,
    Write,
    version_of,
)
from hivewire.schedules import waiting
from hivewire.schemas.compiled import SchemaError, compiled
from hivewire.schemas.schemas import KIND, MAX_SCHEMAS, NULL, Rule, SchemaContent, Schemas, rule_after
from hivewire.schemas.survey import Survey
from hivewire.services import Services
from hivewire.slices import in_slices
from hivewire_protocol import patterns, times
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.errors import (
    InvalidParameters,
    NotAllowed,
    NotFound,
    OutOfBounds,
    TooLarge,
    ValuesDoNotFit,
    WireError,
)
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import RESERVED, RevisionReply, TransactChange
from hivewire_protocol.nouns.rollout import RolloutChange
from hivewire_protocol.nouns.schema import (
    Misfit,
    SchemaChange,
    SchemaCheck,
    SchemaCheckReply,
    SchemaDelete,
    SchemaHistory,
    SchemaHistoryReply,
    SchemaList,
    SchemaListReply,
    SchemaPut,
    SchemaReply,
    SchemaView,
)
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.permissions import Permission
from hivewire_protocol.tenant.steps import Steps

TAKE = 1_000
HISTORY_TAKE, MOST_HISTORY = 20, 100
PAGE = 25
"""Changes that are read at once."""

NO_NAMES = Patterns(())


async def put(services: Services, caller: Caller, request: SchemaPut) -> Reply:
    """Set the schema of names. Raises ValuesDoNotFit, with the values that do not, unless it is forced."""
    names = _names(services, caller, request.names)
    schema = _schema(request.schema)
    if schema is None and not request.secret:
        raise InvalidParameters("give schema, secret, or both")
    hidden = _check_secrets(services, caller, names)
    content = SchemaContent(NULL if schema is None else Raw(schema), bool(request.secret))
    description = description_of(services, request.description)
    conditions: list[Precondition] = [*expected_of(request), *hidden, Room()]
    services.schemas.expect()
    with ExitStack() as stack:
        if schema is not None and not request.force:
            survey = stack.enter_context(_survey(services, caller, names, schema, secret=bool(request.secret)))
            if misfits := await survey.run() or await survey.look_at(await in_slices(_waiting(services))):
                raise _misfits(misfits)
            check_token(services, caller)
            _check_secrets(services, caller, names)
            conditions.append(survey)
        encoded = msgspec.json.encode(content)
        write = Write(KIND, names, encoded, "application/json", description, tuple(conditions))
        pending: PendingWrite[Reply] = PendingWrite(Transaction((write,), caller.identity.login), _written, _refusal)
        if request.dryRun:
            pending.answer = _would_write
        return await commit(services.ledger, pending.tried(request.dryRun), caller.identity)


def _survey(services: Services, caller: Caller, names: str, schema: bytes, *, secret: bool = False) -> Survey:
    """A survey that tells nothing of values in layers of devices that the caller does not reach."""
    return Survey(services.schemas, names, schema, secret=secret, sees=partial(services.fleet.sees, caller.identity))


def _waiting(services: Services) -> Steps[list[tuple[str | None, str, str]]]:
    """The values that are to be put later, by schedules and open rollouts, with their layers and names. Those for a
    deleted device never are."""
    changes: list[tuple[str | None, TransactChange | RolloutChange]] = []
    for _, found in waiting(services.ledger):
        if found.failed is None and services.fleet.first_gone(found.devices) is None:
            changes += [(each.layer, each) for each in found.changes]
        yield
    for change in list(services.ledger.kind(ROLLOUT).live.values()):
        rollout = content_of(change)
        if rollout.state in OPEN and not services.fleet.is_gone(rollout):
            changes += [(rollout.layer, each) for each in rollout.changes]
        yield
    return [(layer, each.name or "", each.value or "") for layer, each in changes if each.operation == "put"]


def _written(changes: list[Change]) -> SchemaReply:
    return SchemaReply(_view(changes[0], changes[0].revision), changes[0].revision)


def _would_write(changes: list[Change]) -> SchemaReply:
    return SchemaReply(_view(changes[0]))


def delete(services: Services, caller: Caller, request: SchemaDelete) -> PendingWrite[Reply]:
    """Delete the schema of names. Raises NotFound."""
    names = _names(services, caller, request.names)
    conditions = (*expected_of(request), *_check_secrets(services, caller, names))
    write = Write(KIND, names, None, "", description_of(services, request.description), conditions)
    transaction = Transaction((write,), caller.identity.login)

    def deleted(changes: list[Change]) -> RevisionReply:
        return RevisionReply(UNSET if request.dryRun else changes[0].revision)

    pending: PendingWrite[Reply] = PendingWrite(transaction, deleted, _refusal)
    return pending.tried(request.dryRun)


def list_(services: Services, caller: Caller, request: SchemaList) -> Reply:
    """A page, in the order of their names, of those for names that the token reaches. Raises NotFound for `names` that
    have none."""
    take = within("take", request.take, TAKE, TAKE)
    rules, reached = services.schemas.rules, caller.identity.names
    if request.name is not None:
        rule = services.schemas.of(request.name) if request.name in reached else None
        found = [] if rule is None else [rule.names]
    else:
        found = sorted(names for names in rules if Patterns([names]) & reached != NO_NAMES)
    if request.names is not None:
        found = [names for names in found if names == request.names]
        if not found:
            raise _missing(request.names)
    page = [names for names in found if request.after is None or names > request.after][:take]
    changes = [rules[names].change for names in page]
    shown, room = [_view(change, change.revision) for change in changes], MAX_REPLY
    for view in shown:
        room -= len(view.names) + len(bytes(view.schema))
        if room < 0:
            raise TooLarge
    return SchemaListReply(shown, len(found), services.ledger.revision)


async def history(services: Services, caller: Caller, request: SchemaHistory) -> Reply:
    """The changes of a schema, newest first. Raises NotFound when there are none."""
    names = _names(services, caller, request.names)
    take = within("take", request.take, HISTORY_TAKE, MOST_HISTORY)
    last = services.ledger.kind(KIND).last(names)
    if last is None:
        raise _missing(names)
    found, at, room = list[Change](), last.revision, MAX_REPLY
    while at and len(found) < take:
        page = await services.ledger.history(KIND, names, revision=at, take=min(PAGE, take - len(found)))
        found += page
        room -= sum(len(change.content or b"") for change in page)
        if room < 0:
            raise TooLarge
        at = page[-1].previous if page else 0
    return SchemaHistoryReply([_change(each) for each in found])


async def check(services: Services, caller: Caller, request: SchemaCheck) -> Reply:
    """Judge a value, or what is stored, and write nothing. Raises InvalidParameters when neither is asked for."""
    schema = _schema(request.schema)
    if request.value is not None and (schema is None) != (request.name is None):
        return await _check_value(services, caller, request.name, schema, request.value.encode())
    if request.value is None and schema is not None and request.name is None:
        names = _names(services, caller, request.names)
        _check_secrets(services, caller, names)
        with _survey(services, caller, names, schema) as survey:
            misfits = await survey.run()
        return SchemaCheckReply(not misfits, names, misfits=misfits)
    raise InvalidParameters("give name and value, schema and value, or names and schema")


async def _check_value(
    services: Services, caller: Caller, name: str | None, schema: bytes | None, content: bytes
) -> Reply:
    names, secret = None, False
    if name is not None:
        _check_reach(caller, name)
        if (rule := services.schemas.of(name)) is not None:
            names, schema, secret = rule.names, rule.schema, rule.secret
    problems = [] if schema is None else await services.schemas.problems(schema, content, secret=secret)
    return SchemaCheckReply(not problems, names, problems=problems)


# What all of them check.


def _names(services: Services, caller: Caller, names: str | None) -> str:
    """The names, if the caller may use all of them. Raises InvalidParameters, OutOfBounds or AccessDenied."""
    if names is None:
        raise InvalidParameters("names is required")
    if (problem := patterns.problem(names)) is not None:
        raise OutOfBounds(problem)
    if len(names) > services.settings.name_length and names not in services.schemas.rules:
        raise out_of_length("names", names, services.settings.name_length, "name_length")
    _check_reach(caller, names)
    return names


def _check_reach(caller: Caller, names: str) -> None:
    """Raise AccessDenied unless the token reaches all of them."""
    asked = Patterns([names])
    if names == RESERVED or asked & caller.identity.names != asked:
        raise out_of_reach(names)


def _schema(given: Raw | UnsetType) -> bytes | None:
    """The schema that a request gives, as JSON; None when there is none. Raises OutOfBounds."""
    if isinstance(given, UnsetType) or given == NULL:
        return None
    try:
        schema = msgspec.json.format(bytes(given), indent=-1)  # without blanks, as it is kept
        compiled(schema)
    except SchemaError as error:
        raise OutOfBounds(f"schema: {error}") from None
    return schema


def _check_secrets(services: Services, caller: Caller, names: str) -> tuple[Precondition, ...]:
    """Raise NotAllowed for names whose values are secret now, unless the caller may see these; the condition that they
    are not secret when the schema is written either.

    Another schema would show them, or reveal them by a series of checks.
    """
    if caller.identity.may(Permission.REVEAL_SECRET):
        return ()
    if services.schemas.is_secret(names):
        raise _hidden(names)
    return (Shown(services.schemas, names),)


def _hidden(names: str) -> NotAllowed:
    return NotAllowed(f"The values of '{names[:128]}' are secret: to change this needs RevealSecret")


class Shown(Struct):
    """The condition that the values of names are not secret."""

    schemas: Schemas
    names: str

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether they are not, after other writes of the same commit too."""
        rule = self.schemas.then(self.names, state)
        return rule is None or not rule.secret


class Room(Struct):
    """The condition that there is room for another schema."""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it exists already, or there are fewer than MAX_SCHEMAS."""
        return version_of(last) > 0 or state.count(KIND) < MAX_SCHEMAS


def _refusal(refused: Refused) -> WireError:
    names, last = refused.write.key, refused.last
    if not isinstance(refused, PreconditionFailed):
        return _missing(names)
    if isinstance(refused.failed, Survey):
        return _misfits(refused.failed.misfits)
    if isinstance(refused.failed, Shown):
        return _hidden(names)
    if isinstance(refused.failed, Room):
        return NotAllowed(f"There are {MAX_SCHEMAS:,} schemas already")
    assert isinstance(refused.failed, Expected)  # noqa: S101 - there is no other one
    return moved(f"The schema of '{names[:128]}'", refused.failed, last)


def _missing(names: str) -> NotFound:
    return NotFound(f"There is no schema for '{names[:128]}'")


def _misfits(misfits: list[Misfit]) -> ValuesDoNotFit:
    first = misfits[0]
    words = f"{ValuesDoNotFit.text}: '{first.name}'"
    if first.problems:
        where = f" {first.problems[0].pointer}" if first.problems[0].pointer else ""
        words += f"{where}: {first.problems[0].message}"
    if len(misfits) > 1:
        words += f" (and {len(misfits) - 1} more)"
    return ValuesDoNotFit(words, misfits=misfits)


def _view(change: Change, revision: int | UnsetType = UNSET) -> SchemaView:
    rule: Rule | None = rule_after(change)
    assert rule is not None  # noqa: S101 - it is no delete
    schema = NULL if rule.schema is None else Raw(rule.schema)
    when = times.render(change.time)
    return SchemaView(rule.names, schema, rule.secret, change.version, when, change.author, revision)


def _change(change: Change) -> SchemaChange:
    rule = rule_after(change)
    schema = NULL if rule is None or rule.schema is None else Raw(rule.schema)
    return SchemaChange(
        change.revision,
        "delete" if rule is None else "put",
        version_of(change),
        schema,
        rule is not None and rule.secret,
        times.render(change.time),
        change.author,
        change.description,
    )


READS = {SchemaPut: put, SchemaList: list_, SchemaHistory: history, SchemaCheck: check}
WRITES = {SchemaDelete: delete}
