"""The roots of the dialect's paths, and its realm (site properties, section 1)."""

from __future__ import annotations

ROOTS = ("/@api/deki", "/%40api/deki")
"""The root of the API as clients send it; answers show the first one."""


def owns(path: str) -> bool:
    """Whether a path, as it was sent, belongs to this dialect."""
    return path.startswith(ROOTS)


REALM = "DekiWiki"
"""The realm of `WWW-Authenticate`, as in wikis."""
