"""The command `hivewire`."""

from __future__ import annotations

import click

from hivewire.cli.backup import backup
from hivewire.cli.serve import serve


@click.group()
def main() -> None:
    """Hivewire, the configuration server for live clients."""


main.add_command(serve)
main.add_command(backup)
