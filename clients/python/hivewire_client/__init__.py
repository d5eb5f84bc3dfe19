"""The Python client of Hivewire: live configuration in memory.

```python
async with Hivewire("http://127.0.0.1:8080", token=fetch_token, names=["limits.*"]) as hw:
    await hw.ready(timeout=5)
    limits = hw.get("limits.api", Limits, default=Limits(max=100))
```

`hivewire_client.sync` is the same for programs without asyncio, `hivewire_client.testing` a gateway for their tests.
"""

from hivewire_client.client import ABSENT, ANY, Hivewire, State
from hivewire_client.device import DesiredChange, Device
from hivewire_client.devices import Command, Feed, Notification, TenantChanged
from hivewire_client.errors import (
    BadAddress,
    Busy,
    Closed,
    Conflict,
    Denied,
    HivewireError,
    LoginRequired,
    NotFound,
    NotReady,
    Refused,
    Stopped,
    TooLarge,
    Unavailable,
    Uncertain,
    Unreachable,
)
from hivewire_client.events import Changes, Event, Invalid, Reset, StateChanged, Watch
from hivewire_client.fleet import Effective, FleetState, Rollout, RolloutState
from hivewire_client.resources import Change, Entry
from hivewire_client.route import Backoff
from hivewire_client.tokens import ClientCredentials, Password
from hivewire_client.transaction import Transaction

__all__ = [
    "ABSENT",
    "ANY",
    "Backoff",
    "BadAddress",
    "Busy",
    "Change",
    "Changes",
    "ClientCredentials",
    "Closed",
    "Command",
    "Conflict",
    "Denied",
    "DesiredChange",
    "Device",
    "Effective",
    "Entry",
    "Event",
    "Feed",
    "FleetState",
    "Hivewire",
    "HivewireError",
    "Invalid",
    "LoginRequired",
    "NotFound",
    "NotReady",
    "Notification",
    "Password",
    "Refused",
    "Reset",
    "Rollout",
    "RolloutState",
    "State",
    "StateChanged",
    "Stopped",
    "TenantChanged",
    "TooLarge",
    "Transaction",
    "Unavailable",
    "Uncertain",
    "Unreachable",
    "Watch",
]
