"""The command `hivewire` with checkpoints every few thousand changes, so that a soak of minutes has many of them."""

from __future__ import annotations

import sys

from hivewire import cli
from hivewire.ledger.engines.nats.upkeep import Upkeep


def main() -> None:
    """Run it."""
    vars(sys.modules[Upkeep.__module__]).update(CHANGES=2_000, LOOK_SECONDS=0.5, SPREAD_SECONDS=1.0)
    cli.main()


if __name__ == "__main__":
    main()
