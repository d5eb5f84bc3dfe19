"""Commands on the data file of a stopped gateway, which `--data` names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from hivewire.ledger.records import Transaction
    from hivewire.store import Store

_T = TypeVar("_T")

data_option = click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Work on this data file; its gateway must be stopped.",
)


def refuse_dry_run(dry_run: bool) -> None:
    """Raise UsageError for a dry run on a file."""
    if dry_run:
        raise click.UsageError("--dry-run asks a running gateway, so it cannot be given with --data")


def work_on_file(data: Path, work: Callable[[Store], Awaitable[_T]]) -> _T:
    """The result of work on a data file. Its lock ensures that no gateway is running on it. Raises ClickException."""
    from hivewire.settings import Settings, StartError
    from hivewire.store import open_store

    async def do() -> _T:
        async with AsyncExitStack() as stack:
            try:
                store = await open_store(Settings(data=str(data)), stack, existing=True)
            except StartError as error:
                raise click.ClickException(str(error)) from None
            return await work(store)

    return asyncio.run(do())


def read_file(data: Path, read: Callable[[Store], list[_T]]) -> list[_T]:
    """What `read` makes of the file of a stopped gateway. Raises ClickException."""

    async def work(store: Store) -> list[_T]:
        return read(store)

    return work_on_file(data, work)


def change_file(data: Path, make: Callable[[Store], Transaction]) -> None:
    """Write a transaction to the file of a stopped gateway. Raises ClickException when it is refused."""
    from hivewire.access.tenants import TenancyError
    from hivewire.ledger.records import NotDurable, PreconditionFailed, Refused

    async def work(store: Store) -> None:
        try:
            await store.ledger.commit(make(store))
        except (TenancyError, NotDurable) as error:
            raise click.ClickException(str(error)) from None
        except Refused as refused:
            what = f"{refused.write.kind} {refused.write.key}"
            problem = f"there is a {what} already" if isinstance(refused, PreconditionFailed) else f"there is no {what}"
            raise click.ClickException(f"{problem} in {data}") from None

    work_on_file(data, work)
