"""The progress of rollouts: counts their devices, and advances, holds or ends them (fleet.md, section 6)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import msgspec
from msgspec import structs

from hivewire.access.identity import Identity
from hivewire.access.tokens import Tokens
from hivewire.access.users import Users
from hivewire.component import end
from hivewire.devices.scope import scope_of
from hivewire.fleet import census
from hivewire.fleet.census import Query
from hivewire.fleet.conditions import guards_of, missing
from hivewire.fleet.fleet import Fleet
from hivewire.fleet.notes import Notes
from hivewire.fleet.reports import APPLIED, LOCAL, PENDING, REFUSED, Report, state
from hivewire.fleet.rollouts import (
    COMPLETED,
    FAILED,
    HELD,
    ROLLED_BACK,
    ROLLOUT,
    RUNNING,
    SCHEDULED,
    Decision,
    Rollout,
    RolloutContent,
    decide,
    ended,
    undo,
)
from hivewire.fleet.views import View
from hivewire.ledger.records import Change, Expected, Refused, Transaction, Write
from hivewire.resources import LAYERED
from hivewire.schemas.schemas import Schemas
from hivewire.slices import in_slices
from hivewire.telemetry import Gauges, log
from hivewire.unexpected import every
from hivewire_protocol.errors import DoesNotFit
from hivewire_protocol.nouns.configuration import TEXT
from hivewire_protocol.nouns.fleet import FleetCountReply
from hivewire_protocol.nouns.layer import key_of
from hivewire_protocol.nouns.rollout import RolloutCounts
from hivewire_protocol.tenant.steps import Steps

JUDGE_SECONDS = 0.5
"""Interval of looking at all running rollouts."""

LOOK = 10
"""Devices that are counted in one step of a slice."""

OVERRIDDEN = "overridden"

EVENTS = {
    RUNNING: "a rollout began a step",
    HELD: "a rollout was held",
    COMPLETED: "a rollout was completed",
    ROLLED_BACK: "a rollout was rolled back",
    FAILED: "a rollout failed",
}
"""What the log says of a rollout by its new state."""

SHOWN_ERRORS = 3
"""Errors of devices that a reason names, the most frequent first."""


class Progress:
    """Looks at each running rollout, and makes the decision that is due."""

    def __init__(
        self, fleet: Fleet, notes: Notes, users: Users, tokens: Tokens, schemas: Schemas, now: Callable[[], int]
    ) -> None:
        self._fleet = fleet
        self._notes = notes
        self._users = users
        self._tokens = tokens
        self._schemas = schemas
        self._now = now
        self._task: asyncio.Task[None] | None = None

    # The life of the component.

    def start(self) -> None:
        """Begin to make decisions."""
        work = every(JUDGE_SECONDS, self.judge, "rollouts were not looked at")
        self._task = asyncio.create_task(work, name="progress of rollouts")

    async def close(self) -> None:
        """Stop."""
        await end(self._task)

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {"fleet_rollouts": ("Rollouts that are not over.", lambda: len(self._fleet.rollouts))}

    # Counting.

    async def count(self, rollout: Rollout, *, background: bool = False) -> tuple[RolloutCounts, list[str]]:
        """The devices of a rollout now, and the most frequent errors of those that have refused."""
        await self._fleet.settled()
        return await in_slices(self._count(rollout), background=background)

    async def census(self, query: Query, *, each_name: bool) -> FleetCountReply:
        """The devices that a query asks for by their states, with those of its rollout."""
        await self._fleet.settled()
        reply = await in_slices(census.count(self._fleet, query, each_name))
        if query.rollout is None:
            return reply
        counts, _ = await self.count(query.rollout)
        return structs.replace(
            reply,
            reached=counts.reached,
            waiting=counts.waiting,
            silent=counts.silent,
            overridden=counts.overridden,
        )

    def _count(self, rollout: Rollout) -> Steps[tuple[RolloutCounts, list[str]]]:
        known: dict[tuple[View, Report | None], tuple[str, str | None]] = {}
        states: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        silent, limit = 0, self._now() - (rollout.gate.silent or 0) * 1_000
        for number, (device, at) in enumerate(list(rollout.reached.items())):
            if number % LOOK == LOOK - 1:
                yield
            member = self._fleet.members.by_id.get(device)
            if member is None or rollout not in member.view.overlays:
                continue
            key = member.view, member.report
            if (found := known.get(key)) is None:
                found = known[key] = self._state(rollout, *key)
                yield
            what, error = found
            if what == OVERRIDDEN:
                continue
            states[what] += 1
            if error is not None:
                errors[error] += 1
            silent += what == PENDING and at <= limit
        shown = 0
        for number, view in enumerate(list(self._fleet.views)):
            if number % LOOK == LOOK - 1:
                yield
            if rollout in view.overlays:
                if self._state(rollout, view, None)[0] == OVERRIDDEN:
                    states[OVERRIDDEN] += view.members
                else:
                    shown += view.members
                yield
        reached, overridden = states.total() - states[OVERRIDDEN], states[OVERRIDDEN]
        waiting = max(0, shown - reached)
        counts = RolloutCounts(reached, states[APPLIED], states[REFUSED], silent, waiting, overridden)
        return counts, [error for error, _ in errors.most_common(SHOWN_ERRORS)]

    def _state(self, rollout: Rollout, view: View, report: Report | None) -> tuple[str, str | None]:
        """The state of a device with this view and report in a rollout, and its error if it has refused."""
        names = view.uncovered(rollout)
        if not names:
            return OVERRIDDEN, None
        found = {name: state(view, report, name) for name in names}
        for name, each in found.items():
            if each == REFUSED and report is not None:
                error = report.entries[name].error
                hidden = self._schemas.is_secret(name)  # it may repeat the value
                return REFUSED, error if isinstance(error, str) and not hidden else None
        if PENDING in found.values():
            return PENDING, None
        return (LOCAL if LOCAL in found.values() else APPLIED), None

    # Deciding.

    async def judge(self) -> None:
        """Make all decisions that are due."""
        for rollout in list(self._fleet.rollouts.values()):
            try:
                await self._advance(rollout)
            except Exception as error:  # whatever it is, other rollouts go on, and trying again does no harm
                log.warning("a rollout was not advanced; trying again", rollout=rollout.number, reason=repr(error))

    async def _advance(self, rollout: Rollout) -> None:
        state_now = rollout.content.state
        if self._fleet.is_gone(rollout.content):
            counts, reason = rollout.content.counts, str(missing(rollout.layer.name))
            await self.write(rollout.change, ended(rollout.content, FAILED, self._now(), counts, reason))
        elif state_now == SCHEDULED and self._now() >= (rollout.content.at or 0):
            await self._begin(rollout)
        elif state_now == RUNNING:
            await self._judge(rollout)

    async def _begin(self, rollout: Rollout) -> None:
        """Start a scheduled rollout after checking it again: the layer, the values and the author may have changed."""
        change, content, now = rollout.change, rollout.content, self._now()
        try:
            await self._schemas.settle(Transaction(writes_of(content)))
            before = undo(rollout.layer, content.changes)  # as the layer is then
        except (ValueError, DoesNotFit) as error:
            words = error.lasting if isinstance(error, DoesNotFit) else str(error)
            await self.write(change, structs.replace(content, state=FAILED, since=now, reason=words))
            return
        if (reason := self.lost_right(content)) is not None:
            await self.write(change, structs.replace(content, state=FAILED, since=now, reason=reason))
            return
        await self.write(change, structs.replace(content, state=RUNNING, since=now, before=before))

    async def _judge(self, rollout: Rollout) -> None:
        lag = self._notes.lag
        if lag is None or self._now() - rollout.content.since < lag:
            return  # other gateways may know more of this step
        counts, errors = await self.count(rollout, background=True)
        change, content, now = rollout.change, rollout.content, self._now()
        if content.state != RUNNING:
            return  # another write was first
        if (reason := self.lost_right(content)) is not None:
            await self.write(change, ended(content, HELD, now, counts, reason))
            return
        decision = decide(content, counts, now, errors)
        if decision is None:
            return
        try:
            await self._carry_out(change, decision)
        except DoesNotFit as error:
            await self.write(change, ended(content, HELD, now, counts, error.lasting))

    async def _carry_out(self, change: Change, decision: Decision) -> None:
        if not decision.completes:
            await self.write(change, decision.content)
            return
        writes = writes_of(decision.content, change.id)
        settled = Transaction(writes, decision.content.author, guards_of(writes))
        await self._schemas.settle(settled)
        if self.lost_right(decision.content) is None:  # else the next look holds it
            await self.write(change, decision.content, settled)

    async def write(
        self, change: Change, content: RolloutContent, also: Transaction | None = None, by: Identity | None = None
    ) -> int | None:
        """Write what a rollout is from now on, with the layer if it is complete. `change` is what that was decided
        from: None when there is another one by now, otherwise the revision. `by` is who asks for it, if anybody."""
        write = Write(
            ROLLOUT,
            str(change.id),
            msgspec.json.encode(content),
            "application/json",
            preconditions=(Expected(revision=change.revision),),
        )
        transaction = Transaction([write], by.login if by is not None else None, by=by)
        if also is not None:
            transaction = Transaction([write, *also.writes], also.author, also.guards)
        try:
            changes = await self._fleet.ledger.commit(transaction)
        except Refused:
            return None
        log_state(change.id, content)
        return changes[0].revision

    def lost_right(self, content: RolloutContent) -> str | None:
        """Why the author may not write the layer any more; None while it may."""
        rights, who = content.rights, f"its author {content.author}"
        user = None if rights is None else self._users.by_id(rights.user)
        if rights is None or user is None or not user.active:
            return f"{who} is not active any more"
        identity = rights.identity(user.login, self._now())
        if self._tokens.revoked(identity):
            return f"the token with which {who} started it was revoked"
        scope, layer = scope_of(identity, user), self._fleet.layers.layer(content.layer)
        for own, named in zip((scope.reached, scope.types), self._fleet.limits(layer), strict=True):
            if own is not None and (named is None or not own.issuperset(named)):
                return f"{who} does not reach all devices of layer '{content.layer}' any more"
        return None


def log_state(number: int, content: RolloutContent) -> None:
    """Say what became of a rollout: with its reason as a warning if it does not go on."""
    event, step = EVENTS[content.state], content.step + 1
    if content.reason is None:
        log.info(event, rollout=number, layer=content.layer, step=step)
    else:
        log.warning(event, rollout=number, layer=content.layer, step=step, reason=content.reason)


def writes_of(content: RolloutContent, number: int | None = None) -> list[Write]:
    """The writes that put the values of a rollout into its layer."""
    found = []
    description = None if number is None else f"rollout {number}"
    for change in content.changes:
        key = key_of(content.layer, change.name or "")
        if change.operation == "put":
            value = (change.value or "").encode()
            found.append(Write(LAYERED, key, value, change.contentType or TEXT, description))
        else:
            found.append(Write(LAYERED, key, None, "", description, if_present=True))
    return found
