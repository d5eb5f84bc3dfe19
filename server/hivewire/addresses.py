"""Network addresses, as far as they tell clients from each other."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def plain(text: str) -> IPv4Address | IPv6Address | str:
    """The address that a text stands for, an IPv4-mapped one as IPv4; the text itself when it is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def network_prefix(text: str) -> str:
    """What counts as one address: with IPv6 the network /64, of which a single client has all addresses."""
    address = plain(text)
    return str(IPv6Address(int(address) >> 64 << 64)) if isinstance(address, IPv6Address) else str(address)
