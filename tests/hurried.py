"""The command `hivewire`, which asks the gateway without a pause whether its token is still valid."""

from __future__ import annotations

from hivewire import cli
from hivewire.cli import following


def main() -> None:
    """Run it."""
    following.ASK_SECONDS = 0.05
    cli.main()


def clockless() -> None:
    """The same, and it does not know how long a token is good, as with a clock that is wrong."""
    vars(following)["seconds_left"] = lambda token: 0
    main()
