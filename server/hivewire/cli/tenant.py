"""`hivewire tenant`: `add`, `list` and `delete` on a running gateway, or on the file of a stopped one.

The commands for the configuration document of a tenant are in `tenant_document.py`.
"""

from __future__ import annotations

from pathlib import Path

import click

from hivewire.cli import tenant_document
from hivewire.cli.data_file import change_file, data_option, read_file, refuse_dry_run
from hivewire.cli.gateway import WOULD, dry_run_option, reach, token_option, url_option
from hivewire.cli.help import Group
from hivewire.cli.output import output_option, print_result, show


@click.group(cls=Group, no_args_is_help=True)
def tenant() -> None:
    """Manage tenants: separate areas for clients, each with a configuration document."""


@tenant.command(
    epilog="""\b
Examples:
  hivewire tenant add shop
  hivewire tenant add shop --data hivewire.db      (the gateway is stopped)"""
)
@click.argument("name")
@dry_run_option
@output_option
@data_option
@url_option
@token_option
def add(
    name: str, dry_run: bool, form: str | None, data: Path | None, url: str | None, given_token: str | None
) -> None:
    """Create the tenant NAME: 1 to 32 letters and digits."""
    if data is not None:
        refuse_dry_run(dry_run)
        change_file(data, lambda store: store.tenants.insert_tenant(name, None))
    else:
        with reach(url, given_token) as remote:
            remote.request("tenant/insert", tenantId=name, dryRun=dry_run or None)
    print_result({"tenantId": name}, form, f"tenant {name} {WOULD if dry_run else 'is'} created", name)


@tenant.command(
    "list",
    epilog="""\b
Examples:
  hivewire tenant list
  for tenant in $(hivewire tenant list -o value); do echo "$tenant"; done
  hivewire tenant list --data hivewire.db      (the gateway is stopped)""",
)
@output_option
@data_option
@url_option
@token_option
def list_(form: str | None, data: Path | None, url: str | None, given_token: str | None) -> None:
    """List the tenants."""
    if data is not None:
        found = read_file(data, lambda store: store.tenants.all())
    else:
        with reach(url, given_token) as remote:
            found = [listed["tenantId"] for listed in remote.request("tenant/list")["tenants"]]
    show(({"tenantId": name} for name in found), form, {"tenant": lambda row: row["tenantId"]}, "tenant")


@tenant.command(
    epilog="""\b
Examples:
  hivewire tenant delete shop
  hivewire tenant delete shop --data hivewire.db      (the gateway is stopped)"""
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
    """Delete the tenant NAME.

    Privileges in it end. A new tenant of the same name does not restore them.
    """
    if data is not None:
        refuse_dry_run(dry_run)
        change_file(data, lambda store: store.tenants.delete_tenant(name, None))
    else:
        with reach(url, given_token) as remote:
            remote.request("tenant/delete", tenantId=name, dryRun=dry_run or None)
    print_result({"tenantId": name}, form, f"{name} {WOULD if dry_run else 'is'} deleted", name)


for _command in (
    tenant_document.get,
    tenant_document.put,
    tenant_document.check,
    tenant_document.diff,
    tenant_document.history,
):
    tenant.add_command(_command)
