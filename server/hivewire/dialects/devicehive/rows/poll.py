"""The paths of polls."""

from __future__ import annotations

from functools import partial

from hivewire.actions import poll
from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.poll import (
    CommandPoll,
    CommandPollMany,
    CommandWait,
    NotificationPoll,
    NotificationPollMany,
)

_OF_DEVICE = "/device/{deviceId}"

_poll = partial(Row, "GET", waits=True)

ROWS = (
    _poll("/device/command/poll", CommandPollMany, shows="commands"),
    _poll(_OF_DEVICE + "/command/poll", CommandPoll, shows="commands", check=poll.check_device_in_path),
    _poll(_OF_DEVICE + "/command/{commandId}/poll", CommandWait, shows="command", check=poll.check_in_path),
    _poll("/device/notification/poll", NotificationPollMany, shows="notifications"),
    _poll(_OF_DEVICE + "/notification/poll", NotificationPoll, shows="notifications", check=poll.check_device_in_path),
)
