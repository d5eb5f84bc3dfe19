"""All nouns joined: the one list of everything that can be asked."""

from __future__ import annotations

from hivewire_protocol import (
    configuration,
    device,
    devicetype,
    identity,
    network,
    server_info,
    subscription,
    tenancy,
    user,
)
from hivewire_protocol.messages import Request, action_of

NOUNS = (server_info, identity, configuration, subscription, user, tenancy, device, network, devicetype)

REQUESTS: dict[str, type[Request]] = {
    action_of(found): found
    for noun in NOUNS
    for found in vars(noun).values()
    if isinstance(found, type) and issubclass(found, Request) and found.__module__ == noun.__name__
}
"""Action name to request struct, noun by noun."""
