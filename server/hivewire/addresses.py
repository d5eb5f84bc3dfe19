"""IP addresses, and when two of them count as the same client."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address


def plain(text: str) -> IPv4Address | IPv6Address | str:
    """The parsed address, an IPv4-mapped one as IPv4; the text itself when it is not an address."""
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=4_096)
def network_prefix(text: str) -> str:
    """The unit that limits count as one address: for IPv6 the /64 network, because one client usually has all of it."""
    address = plain(text)
    return str(IPv6Address(int(address) >> 64 << 64)) if isinstance(address, IPv6Address) else str(address)
