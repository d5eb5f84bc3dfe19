"""The command `hivewire` where the clock is wrong, so that it does not know how long a token is good."""

from __future__ import annotations

from hivewire import cli
from hivewire_client import tokens


def main() -> None:
    """Run it."""
    vars(tokens)["seconds_left"] = lambda token: 0
    cli.main()
