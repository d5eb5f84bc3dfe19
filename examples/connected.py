"""What the other `*_client.py` examples share: the login, and how they end.

HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
HIVEWIRE_TOKEN   an access token; or else
HIVEWIRE_LOGIN   the login (admin), with
HIVEWIRE_PASSWORD
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

try:
    from hivewire_client import BadAddress, Hivewire, Password, Refused
except ImportError:
    raise SystemExit("this needs the library hivewire_client: pip install hivewire-client") from None


def token() -> str | Password:
    """The token of the environment, or a login."""
    given, password = os.environ.get("HIVEWIRE_TOKEN"), os.environ.get("HIVEWIRE_PASSWORD")
    if not given and not password:
        raise SystemExit("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
    return given or Password(os.environ.get("HIVEWIRE_LOGIN", "admin"), password or "")


async def connected(work: Callable[[Hivewire], Awaitable[None]]) -> None:
    """Do some work with a client, until it is done or the program is told to stop."""

    async def do() -> None:
        address = os.environ.get("HIVEWIRE_URL", "http://127.0.0.1:8080")
        async with Hivewire(address, token=token(), names=[]) as hw:
            await hw.ready()  # until there is a gateway, however long
            await work(hw)

    running = asyncio.ensure_future(do())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        pass  # asked to stop
    except Refused as refused:
        raise SystemExit(f"refused: {refused.code} {refused}") from None
    except BadAddress as error:
        raise SystemExit(str(error)) from None
