"""`hivewire user password` and `hivewire user unlock`: on a running gateway, or on the file of a stopped one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click

from hivewire.cli.gateway import reach, token_option, url_option
from hivewire.cli.identity import read_password

data_option = click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Work on this data file; its gateway must be stopped.",
)
ACTIVE = 0


@click.group(no_args_is_help=True)
def user() -> None:
    """Manage users: set a password, unlock."""


@user.command(
    epilog="""\b
Examples:
  hivewire user password alice
  hivewire user password alice --password-stdin < password.txt
  hivewire user password admin --data hivewire.db      (the gateway is stopped)"""
)
@click.argument("login")
@click.option("--password-stdin", is_flag=True, help="Read the new password from standard input, without asking.")
@data_option
@url_option
@token_option
def password(login: str, password_stdin: bool, data: Path | None, url: str | None, given_token: str | None) -> None:
    """Set the password of the user LOGIN.

    The tokens of the user stay valid until they expire.
    """
    new = read_password("New password", password_stdin, confirm=True)
    if not 6 <= len(new) <= 128:
        raise click.UsageError("a password has 6 to 128 characters")
    _update(login, {"password": new}, data, url, given_token)
    click.echo(f"{login} has a new password")


@user.command(
    epilog="""\b
Examples:
  hivewire user unlock alice
  hivewire user unlock admin --data hivewire.db      (the gateway is stopped)"""
)
@click.argument("login")
@data_option
@url_option
@token_option
def unlock(login: str, data: Path | None, url: str | None, given_token: str | None) -> None:
    """Make the user LOGIN active again and reset the count of its wrong passwords."""
    _update(login, {"status": ACTIVE}, data, url, given_token)
    click.echo(f"{login} is active")


def _update(login: str, fields: dict[str, Any], data: Path | None, url: str | None, token: str | None) -> None:
    if data is not None:
        asyncio.run(_update_file(login, fields, data))
        return
    with reach(url, token) as remote:
        found = remote.request("user/list", login=login)["users"]
        if not found:
            raise click.ClickException(f"there is no user {login}")
        # The gateway overwrites `data` with every update, so it is sent back unchanged.
        remote.request("user/update", userId=found[0]["id"], user={**fields, "data": found[0]["data"]})


async def _update_file(login: str, fields: dict[str, Any], data: Path) -> None:
    """The same on the file itself. Its lock ensures that no gateway is running on it."""
    from hivewire.settings import StartError
    from hivewire.store import open_store

    async with AsyncExitStack() as stack:
        try:
            store = await open_store(data, stack, existing=True)
        except StartError as error:
            raise click.ClickException(str(error)) from None
        found = store.users.by_login(login)
        if found is None:
            raise click.ClickException(f"there is no user {login} in {data}")
        profile = found.profile
        if "password" in fields:
            profile.password_hash = await store.passwords.hash(fields["password"])
        profile.status = fields.get("status", profile.status)
        await store.ledger.commit(store.users.write(login, profile, None))
