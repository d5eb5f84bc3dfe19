"""The paths of rollouts."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.rollout import (
    RolloutGet,
    RolloutHold,
    RolloutList,
    RolloutResume,
    RolloutRollback,
    RolloutStart,
)

ROWS = (
    Row("GET", "/rollout", RolloutList, shows="rollouts"),
    Row("POST", "/rollout", RolloutStart, 201),
    Row("GET", "/rollout/{rollout}", RolloutGet, shows="rollout"),
    Row("POST", "/rollout/{rollout}/hold", RolloutHold, empty=None),
    Row("POST", "/rollout/{rollout}/resume", RolloutResume, empty=None),
    Row("POST", "/rollout/{rollout}/rollback", RolloutRollback, empty=None),
)
