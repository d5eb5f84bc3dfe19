"""DeviceHive's REST dialect and our own additions to it: parse, call the action, render.

Each row of the tables names the request that also comes over a socket, and how its reply is shown; there is no second
implementation of any action (core protocol, sections 1.5 and 10; configuration contract, section 5).
"""

from hivewire.dialects.devicehive.operations import operations
from hivewire.dialects.devicehive.rest import dialect
from hivewire.dialects.devicehive.rows import ROWS

__all__ = ["ROWS", "dialect", "operations"]
