"""IP addresses, and when two of them count as the same client."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


def plain(text: str) -> IPv4Address | IPv6Address | str:
    """The parsed address, an IPv4-mapped one as IPv4; the text itself when it is not an address."""
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def unmapped(text: str) -> str:
    """The same address, an IPv4-mapped one as IPv4, so that a client of a port for both has one name for itself."""
    return str(plain(text)) if text.startswith("::ffff:") else text


@lru_cache(maxsize=16)
def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks in a list with commas, of which an address is one too. Raises ValueError, which says what is not."""
    found = []
    for each in filter(None, map(str.strip, text.split(","))):
        try:
            found.append(ip_network(each if "/" in each else plain(each)))
        except ValueError:
            raise ValueError(f"{each!r} is not an IP address or a network such as 10.0.0.0/8") from None
    return tuple(found)


@lru_cache(maxsize=4_096)
def within(address: str, text: str) -> bool:
    """Whether an address is in one of the `networks` of a list. An IPv4-mapped one counts as the IPv4 address."""
    parsed = plain(address)
    return not isinstance(parsed, str) and any(parsed in each for each in networks(text))


@lru_cache(maxsize=4_096)
def network_prefix(text: str) -> str:
    """The unit that limits count as one address: for IPv6 the /64 network, because one client usually has all of it."""
    address = plain(text)
    return str(IPv6Address(int(address) >> 64 << 64)) if isinstance(address, IPv6Address) else str(address)
