"""`hivewire client`: on a running gateway, or on the file of a stopped one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hivewire.cli.data_file import change_file, data_option, read_file, refuse_dry_run
from hivewire.cli.gateway import WOULD, dry_run_option, reach, token_option, url_option
from hivewire.cli.help import Group
from hivewire.cli.output import Columns, Row, Text, output_option, print_result, show, value_in_pipes
from hivewire_protocol.nouns.tenant import Privilege

if TYPE_CHECKING:
    from hivewire.store import Store


class _Capitals(click.Choice[str]):
    """A choice of words in capitals, which may be typed in small letters."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        """The word in capitals, as an error lists it."""
        return str(choice).upper()


_tenants_option = click.option(
    "--tenant", "tenants", multiple=True, required=True, metavar="NAME", help="A tenant that it may use."
)
_privileges_option = click.option(
    "--privilege",
    "privileges",
    multiple=True,
    type=_Capitals([str(each) for each in Privilege], case_sensitive=False),
    metavar="|".join(Privilege),
    help="What it may do in each of them; default READ. UPDATE includes READ.",
)


@click.group(cls=Group, no_args_is_help=True)
def client() -> None:
    """Manage OAuth clients: programs that have privileges in tenants, and a secret instead of a password.

    They are not users, whose role may be called client as well: hivewire user.
    """


@client.command(
    epilog="""\b
Examples:
  hivewire client add sync --tenant shop --privilege UPDATE
  hivewire client add report --tenant shop --tenant store2
  secret=$(hivewire client add sync --tenant shop --privilege UPDATE)
  hivewire client add sync --tenant shop --data hivewire.db      (the gateway is stopped)

\b
On a terminal it prints the secret with a label, into a pipe only the secret."""
)
@click.argument("name")
@_tenants_option
@_privileges_option
@dry_run_option
@output_option
@data_option
@url_option
@token_option
def add(
    name: str,
    form: str | None,
    tenants: tuple[str, ...],
    privileges: tuple[str, ...],
    dry_run: bool,
    data: Path | None,
    url: str | None,
    given_token: str | None,
) -> None:
    """Create the OAuth client NAME and print its secret once: the gateway keeps only a hash of it."""
    given = _given(tenants, privileges)
    if data is not None:
        from hivewire.access.tenants import generate_secret

        refuse_dry_run(dry_run)
        secret = generate_secret()
        change_file(data, lambda store: store.tenants.insert_client(name, given, secret, None))
    else:
        with reach(url, given_token) as remote:
            reply = remote.request("client/insert", clientId=name, tenants=given, dryRun=dry_run or None)
            secret = reply["clientSecret"]
    if dry_run:
        print_result({"clientId": name}, form, f"{name} {WOULD} created", name)
        return
    _print_secret(name, secret, form)


@client.command(
    "list",
    epilog="""\b
Examples:
  hivewire client list
  hivewire client list --json | jq -r '.tenants.shop'
  hivewire client list --data hivewire.db      (the gateway is stopped)""",
)
@output_option
@data_option
@url_option
@token_option
def list_(form: str | None, data: Path | None, url: str | None, given_token: str | None) -> None:
    """List the OAuth clients and their privileges."""
    if data is not None:
        found = read_file(data, _of_file)
    else:
        with reach(url, given_token) as remote:
            found = remote.request("client/list")["clients"]
    show(found, form, COLUMNS, "client")


@client.command(
    epilog="""\b
Examples:
  hivewire client secret sync
  secret=$(hivewire client secret sync)
  hivewire client secret sync --data hivewire.db      (the gateway is stopped)"""
)
@click.argument("name")
@dry_run_option
@output_option
@data_option
@url_option
@token_option
def secret(
    name: str, dry_run: bool, form: str | None, data: Path | None, url: str | None, given_token: str | None
) -> None:
    """Give the OAuth client NAME a new secret and print it once. The old one is refused from then on.

    The tokens of the client stay valid until they expire.
    """
    if data is not None:
        from hivewire.access.tenants import generate_secret

        refuse_dry_run(dry_run)
        new = generate_secret()
        change_file(data, lambda store: store.tenants.update_client(name, None, new, None))
    else:
        with reach(url, given_token) as remote:
            reply = remote.request("client/update", clientId=name, newSecret=True, dryRun=dry_run or None)
            new = reply["clientSecret"]
    if dry_run:
        print_result({"clientId": name}, form, f"{name} {WOULD} given a new secret", name)
        return
    _print_secret(name, new, form)


@client.command(
    epilog="""\b
Examples:
  hivewire client privileges sync --tenant shop --privilege CREATE --privilege UPDATE
  hivewire client privileges sync --tenant shop --data hivewire.db      (the gateway is stopped)"""
)
@click.argument("name")
@_tenants_option
@_privileges_option
@dry_run_option
@output_option
@data_option
@url_option
@token_option
def privileges(
    name: str,
    form: str | None,
    tenants: tuple[str, ...],
    privileges: tuple[str, ...],
    dry_run: bool,
    data: Path | None,
    url: str | None,
    given_token: str | None,
) -> None:
    """Set the privileges of the OAuth client NAME, in place of all that it has.

    What is taken away ends at once, in its tokens too. What is added is in the next token that it gets.
    """
    given = _given(tenants, privileges)
    if data is not None:
        refuse_dry_run(dry_run)
        change_file(data, lambda store: store.tenants.update_client(name, given, None, None))
    else:
        with reach(url, given_token) as remote:
            given = remote.request("client/update", clientId=name, tenants=given, dryRun=dry_run or None)["tenants"]
    row = {"clientId": name, "tenants": given}
    how = f"{WOULD} given" if dry_run else "has"
    print_result(row, form, f"{name} {how} the privileges {_privileges(row)}", name)


@client.command(
    epilog="""\b
Examples:
  hivewire client delete sync
  hivewire client delete sync --data hivewire.db      (the gateway is stopped)"""
)
@click.argument("name")
@dry_run_option
@output_option
@data_option
@url_option
@token_option
def delete(
    name: str, dry_run: bool, form: str | None, data: Path | None, url: str | None, given_token: str | None
) -> None:
    """Delete the OAuth client NAME. Its tokens stop working immediately."""
    if data is not None:
        refuse_dry_run(dry_run)
        change_file(data, lambda store: store.tenants.delete_client(name, None))
    else:
        with reach(url, given_token) as remote:
            remote.request("client/delete", clientId=name, dryRun=dry_run or None)
    print_result({"clientId": name}, form, f"{name} {WOULD if dry_run else 'is'} deleted", name)


def _given(tenants: tuple[str, ...], privileges: tuple[str, ...]) -> dict[str, list[str]]:
    return {tenant: list(privileges) or [str(Privilege.READ)] for tenant in tenants}


def _print_secret(name: str, secret: str, form: str | None) -> None:
    words = f"client  {name}\nsecret  {secret}\n        (generated now and not shown again)"
    print_result({"clientId": name, "clientSecret": secret}, form or value_in_pipes(), words, secret)


def _of_file(store: Store) -> list[Row]:
    from hivewire.access.tenants import in_order

    return [
        {
            "clientId": known.id,
            "tenants": {tenant: [*map(str, in_order(given))] for tenant, given in store.tenants.grants(known).items()},
            "revision": known.revision,
        }
        for known in store.tenants.clients()
    ]


def _privileges(row: Row) -> str:
    """Such as `shop: READ, UPDATE; store2: READ`; empty when all its tenants were deleted."""
    return "; ".join(f"{tenant}: {', '.join(given)}" for tenant, given in sorted(row["tenants"].items()))


COLUMNS: Columns = {"client": Text(lambda row: row["clientId"]), "privileges": Text(_privileges)}
