"""The roots of the dialect's paths, and its realm (site properties, section 1)."""

from __future__ import annotations

ROOTS = ("/@api/deki", "/%40api/deki")
"""The root of the API as clients send it; answers show the first one."""

REALM = "DekiWiki"
"""The realm of `WWW-Authenticate`, as in wikis."""
