"""The paths of schedules."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.schedule import ScheduleCancel, ScheduleList

ROWS = (
    Row("GET", "/schedule", ScheduleList, shows="schedules"),
    Row("GET", "/schedule/{schedule}", ScheduleList, shows="schedules", single=True),
    Row("DELETE", "/schedule/{schedule}", ScheduleCancel, 204),
)
