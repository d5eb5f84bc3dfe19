"""The command `hivewire`, whose gateway gives a slow event stream a minute to read why it ends: machines are busy."""

from __future__ import annotations

from hivewire import cli
from hivewire.transport import connection


def main() -> None:
    """Run it."""
    connection.GRACE_SECONDS = 60
    cli.main()
