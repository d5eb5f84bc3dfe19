"""Rollouts: new values that show themselves to ever more devices of a layer (fleet.md, section 6)."""

from typing import Annotated, ClassVar

from msgspec import UNSET, Raw, Struct, UnsetType

from hivewire_protocol.errors import (
    Conflict,
    DoesNotFit,
    NotFound,
    OutOfBounds,
    Unavailable,
    WireError,
)
from hivewire_protocol.messages import DryRun, Integer, Reply, Request, WasDryRun, says
from hivewire_protocol.nouns.configuration import Affects
from hivewire_protocol.permissions import Permission


class Gate(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """When a rollout takes its next step, and when it stops. What a step leaves out is as in the step before it."""

    success: Annotated[float | None, says("Percent of the reached devices that must have applied; default 95.")] = None
    failures: Annotated[int | None, says("Failed devices that are tolerated in any case; default 2.")] = None
    minimum: Annotated[int | None, says("Devices to be reached, or all of the step; default 5.")] = None
    wait: Annotated[int | None, says("The shortest time of a step in seconds; default 60.")] = None
    limit: Annotated[int | None, says("The longest time of a step in seconds; default 86,400.")] = None
    silent: Annotated[int | None, says("Seconds without an answer until a device has failed; default 120.")] = None
    onFailure: Annotated[str | None, says("`hold`, as when absent, or `rollback`.")] = None


class Step(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Devices that get the new values. All members must hold; steps add up. The last one is `{"percent":100}`.

    Of steps that are only a percentage, each must be larger than those before.
    """

    percent: Annotated[float | None, says("This part of the layer's devices: over 0, at most 100.")] = None
    labels: Annotated[dict[str, list[str] | None] | None, says("As in the target of a layer.")] = None
    deviceIds: Annotated[list[str] | None, says("These devices.")] = None
    gate: Annotated[Gate | None, says("What is different from this step on.")] = None


class RolloutChange(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One new value, or a delete."""

    required: ClassVar[tuple[str, ...]] = ("operation", "name")

    operation: Annotated[str | None, says("`put` or `delete`.")] = None
    name: Annotated[str | None, says("The configuration's name.")] = None
    value: Annotated[str | None, says("The new content; required for a put.")] = None
    contentType: Annotated[str | None, says("The media type; default `text/plain; charset=utf-8`.")] = None


class RolloutCounts(Struct):
    """The devices of a rollout."""

    reached: Annotated[int, says("That were sent the new values.")]
    applied: Annotated[int, says("Of these, that have applied them.")]
    refused: Annotated[int, says("Of these, that have refused one.")]
    silent: Annotated[int, says("Of these, that have not answered for too long.")]
    waiting: Annotated[int, says("That are in the steps so far and were not reached: they are offline.")]
    overridden: Annotated[int, says("For which a higher layer has all the names.")]


class RolloutView(Struct):
    """A rollout."""

    rollout: Annotated[int, says("Its number.")]
    layer: Annotated[str, says("The layer.")]
    state: Annotated[str, says("`scheduled`, `running`, `held`, `completed`, `rolledBack` or `failed`.")]
    step: Annotated[int, says("The number of the current step, from 1 on.")]
    steps: Annotated[list[Step], says("The steps.")]
    gate: Annotated[Gate, says("The gate of the current step.")]
    changes: Annotated[list[RolloutChange], says("The new values.")]
    salt: Annotated[str, says("Which devices a percentage takes depends on it.")]
    reason: Annotated[str | None, says("Why it is in this state.")]
    counts: Annotated[RolloutCounts, says("Its devices now; when it is over, at its last decision.")]
    since: Annotated[str, says("When the step or the state began, in UTC.")]
    at: Annotated[str | None, says("When it is to start.")]
    author: Annotated[str | None, says("The login of the user who started it.")]
    revision: Annotated[int, says("The revision of its last change.")]


class RolloutReply(Reply):
    """The rollout after the change."""

    rollout: Annotated[int, says("Its number.")]
    revision: Annotated[int | UnsetType, says("The revision of the change; absent after a dry run.")] = UNSET
    dryRun: WasDryRun = UNSET
    affects: Annotated[Affects | UnsetType, says("Of a dry run in layers: the devices that it is about.")] = UNSET


class RolloutGetReply(Reply):
    """The rollout."""

    rollout: Annotated[RolloutView, says("The rollout.")]


class RolloutListReply(Reply):
    """Rollouts."""

    rollouts: Annotated[list[RolloutView], says("The rollouts, the newest first.")]


_Number = Annotated[Integer | None, says("The number of the rollout.")]
_WRITES: tuple[type[WireError], ...] = (Conflict, NotFound, OutOfBounds, Unavailable)


class RolloutStart(Request, tag="rollout/start", forbid_unknown_fields=True):
    """Show new values to ever more devices of a layer, and write them into it when all is well."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("layer", "steps")
    reply = RolloutReply
    errors = (*_WRITES, DoesNotFit)

    layer: Annotated[str | None, says("The layer.")] = None
    changes: Annotated[list[RolloutChange] | None, says("1 to 100 new values, each name once.")] = None
    undo: Annotated[
        Integer | None, says("In place of `changes`: those that undo this completed rollout, secret values included.")
    ] = None
    steps: Annotated[
        list[Step] | None, says('1 to 20 steps with ascending percentages; the last is `{"percent":100}`.')
    ] = None
    gate: Annotated[Gate | None, says("When it advances, and when it is held or rolled back.")] = None
    salt: Annotated[
        str | None,
        says("1 to 64 characters; default `rollout/NUMBER`, so that not always the same devices are first."),
    ] = None
    at: Annotated[Raw | None, says("When to start: milliseconds since 1970, or ISO 8601; at once when absent.")] = None
    dryRun: DryRun = None


class RolloutGet(Request, tag="rollout/get"):
    """A rollout with its counts."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    required = ("rollout",)
    reply = RolloutGetReply
    errors = (NotFound,)

    rollout: _Number = None


class RolloutList(Request, tag="rollout/list"):
    """List rollouts with their counts. Values of more than 256 characters are null here."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    reply = RolloutListReply
    errors = (OutOfBounds,)

    state: Annotated[str | None, says("Only those in this state.")] = None
    take: Annotated[Integer | None, says("The most to return: 0 to 100, default 20.", minimum=0, maximum=100)] = None
    before: Annotated[Integer | None, says("Only those with a smaller number.")] = None


class RolloutHold(Request, tag="rollout/hold", forbid_unknown_fields=True):
    """Hold a running rollout: no other device is reached, and those that were keep the new values."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("rollout",)
    reply = RolloutReply
    errors = _WRITES

    rollout: _Number = None
    dryRun: DryRun = None


class RolloutResume(Request, tag="rollout/resume", forbid_unknown_fields=True):
    """Let a held rollout go on. Failures so far are forgiven."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("rollout",)
    reply = RolloutReply
    errors = _WRITES

    rollout: _Number = None
    step: Annotated[Integer | None, says("Go to this step, without its predecessors' gates.")] = None
    dryRun: DryRun = None


class RolloutRollback(Request, tag="rollout/rollback", forbid_unknown_fields=True):
    """End a rollout: its devices get the layer's values again. `changes` of a 409 would undo a completed one."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("rollout",)
    reply = RolloutReply
    errors = _WRITES

    rollout: _Number = None
    dryRun: DryRun = None
