"""Schedules: writes at a later time (fleet configuration, section 8)."""

from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from hivewire_protocol.errors import NotFound, OutOfBounds, Unavailable
from hivewire_protocol.messages import DryRun, Integer, Reply, Request, says
from hivewire_protocol.nouns.configuration import RevisionReply
from hivewire_protocol.permissions import Permission


class ScheduledChange(Struct, gc=False):
    """One change of a scheduled transaction."""

    operation: Annotated[str, says("`put` or `delete`.")]
    name: Annotated[str, says("The configuration's name.")]
    value: Annotated[str | None, says("The new content; null of a delete, and where it is secret.")]
    layer: Annotated[str | UnsetType, says("The layer that it is in; absent of a plain configuration.")] = UNSET
    secret: Annotated[bool | UnsetType, says("True: the value is secret, so it is null here.")] = UNSET


class ScheduleView(Struct):
    """What is written later."""

    schedule: Annotated[int | None, says("Its number; null of the expiry of a configuration.")]
    at: Annotated[str, says("When, in UTC: `2026-03-01T09:30:00.123`.")]
    changes: Annotated[list[ScheduledChange], says("What is written then, as far as the token reaches the names.")]
    created: Annotated[str, says("When it was scheduled, in UTC.")]
    createdBy: Annotated[str | None, says("The login of its author, whose rights count at that time.")]
    failed: Annotated[str | UnsetType, says("Why it was not written; it stays here until it is cancelled.")] = UNSET


class ScheduleListReply(Reply):
    """A page of schedules."""

    schedules: Annotated[list[ScheduleView], says("The schedules, those that are due first at the beginning.")]
    count: Annotated[int, says("The number of all that match.")]


class ScheduleList(Request, tag="schedule/list"):
    """List scheduled writes: transactions with a time, and configurations that expire."""

    permission = Permission.GET_CONFIGURATION
    read_only = True
    reply = ScheduleListReply
    errors = (NotFound, OutOfBounds)

    schedule: Annotated[Integer | None, says("Only the one of this number.")] = None
    take: Annotated[Integer | None, says("The most to return: 0 to 1,000, default 100.", minimum=0, maximum=1_000)] = (
        None
    )
    skip: Annotated[Integer | None, says("The number to skip at the beginning.", minimum=0)] = None


class ScheduleCancel(Request, tag="schedule/cancel"):
    """Cancel a scheduled transaction, or remove one that failed. A configuration that is put again does not expire."""

    permission = Permission.MANAGE_CONFIGURATION
    required = ("schedule",)
    reply = RevisionReply
    errors = (NotFound, OutOfBounds, Unavailable)

    schedule: Annotated[Integer | None, says("The number of the schedule.")] = None
    dryRun: DryRun = None
