"""The paths of notifications."""

from __future__ import annotations

from hivewire.actions import notification
from hivewire.actions.device_messages import check_device_in_path, check_scope_in_path
from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.notification import (
    NotificationGet,
    NotificationInsert,
    NotificationList,
    NotificationStream,
)

_OF_DEVICE = "/device/{deviceId}/notification"

ROWS = (
    Row(
        "GET",
        _OF_DEVICE,
        NotificationList,
        shows="notifications",
        stream=NotificationStream,
        check=check_device_in_path,
    ),
    Row("GET", "/device/notification", NotificationStream, stream=NotificationStream),
    Row(
        "POST",
        _OF_DEVICE,
        NotificationInsert,
        201,
        shows="notification",
        body="notification",
        check=check_scope_in_path,
        check_if_wrong=check_device_in_path,
    ),
    Row(
        "GET",
        _OF_DEVICE + "/{notificationId}",
        NotificationGet,
        shows="notification",
        check=notification.check_number_in_path,
    ),
)
