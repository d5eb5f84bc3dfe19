"""`hivewire user`: on a running gateway; commands that can undo a lock-out also work on the file of a stopped one."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from hivewire.cli.data_file import data_option, refuse_dry_run, work_on_file
from hivewire.cli.errors import RemoteError
from hivewire.cli.gateway import (
    MOST_COMPLETED,
    WOULD,
    completion,
    dry_run_option,
    reach,
    token_option,
    url_option,
    with_gateway,
)
from hivewire.cli.grouping import NETWORK, TYPE, Noun, networks_option, types_option
from hivewire.cli.help import Group
from hivewire.cli.identity import find_user, read_password
from hivewire.cli.listing import listed
from hivewire.cli.output import Columns, Row, Text, aligned, local, output_option, print_result, printable, show
from hivewire_protocol.nouns.user import Role, Status

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote
    from hivewire.store import Store

ROLES = {"admin": Role.ADMIN, "client": Role.CLIENT}
"""The values of `--role`, in DeviceHive's words. A user of role client is no OAuth client (`hivewire client`)."""

_role = click.Choice([*ROLES])
_stdin_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, without asking."
)

STATUSES = {Status.ACTIVE: "active", Status.LOCKED_OUT: "locked out", Status.DISABLED: "disabled"}

COLUMNS: Columns = {
    "id": lambda row: str(row["id"]),
    "login": Text(lambda row: row["login"]),
    "role": lambda row: _word(ROLES, row["role"]),
    "status": lambda row: STATUSES.get(row["status"], str(row["status"])),
    "last login": lambda row: local(row["lastLogin"]) or "never",
}


def _logins(remote: Remote, beginning: str) -> list[str]:
    """Some logins, for shell completion."""
    found = remote.request("user/list", loginPattern=f"{beginning}%", take=MOST_COMPLETED)
    return [row["login"] for row in found["users"]]


_login_argument = click.argument("login", shell_complete=completion(_logins))
_all_types_option = click.option("--all-types", is_flag=True, help="All device types, and those that are made later.")


@click.group(cls=Group, no_args_is_help=True)
def user() -> None:
    """Manage users: people, who log in with a password.

    A user has the role admin or client. Programs that have a secret instead of a password and work in tenants are
    OAuth clients: hivewire client.
    """


@user.command(
    epilog="""\b
Examples:
  hivewire user add alice
  hivewire user add bob --role admin --password-stdin < password.txt
  id=$(hivewire user add carol --password-stdin -o value < password.txt)"""
)
@click.argument("login")
@click.option(
    "--role",
    type=_role,
    default="client",
    show_default=True,
    help="admin: may do everything; client: reaches configurations only with tokens that are made for it.",
)
@_stdin_option
@dry_run_option
@output_option
@url_option
@token_option
def add(
    login: str,
    role: str,
    password_stdin: bool,
    dry_run: bool,
    form: str | None,
    url: str | None,
    given_token: str | None,
) -> None:
    """Create the user LOGIN; the command asks for the password.

    A login has 3 to 128 letters, digits and _@.-. A user of role client may log in, but reaches
    configurations only with tokens that somebody makes for it, hivewire token --user LOGIN, and devices only when it is
    a member of their networks: hivewire user assign LOGIN.
    """
    if re.fullmatch(r"[\w@.-]{3,128}", login.strip(), re.ASCII) is None:
        raise click.UsageError("a login has 3 to 128 letters, digits and _@.-")
    secret = _new_password("Password", password_stdin)
    with reach(url, given_token) as remote:
        fields = {"login": login, "password": secret, "role": ROLES[role]}
        made = remote.request("user/insert", user=fields, dryRun=dry_run or None)["user"]
    words = f"{login} {WOULD} created" if dry_run else f"{_is_a(login, role)} (id {made['id']})"
    print_result({"login": login, **made}, form, words, str(made["id"]))


@user.command(
    "list",
    epilog="""\b
Examples:
  hivewire user list
  hivewire user list -o value
  hivewire user list --json | jq -r 'select(.status == 1) | .login'""",
)
@output_option
@with_gateway
def list_(remote: Remote, form: str | None) -> None:
    """List the users with their roles, statuses and last logins."""
    show(listed(remote, "user/list", "users", sortField="id"), form, COLUMNS, "login")


@user.command(
    epilog="""\b
Examples:
  hivewire user get alice
  hivewire user get alice -o json | jq -r '.networks[].name'"""
)
@_login_argument
@output_option
@with_gateway
def get(remote: Remote, login: str, form: str | None) -> None:
    """Show the user LOGIN with its networks and device types."""
    _print_user(remote, find_user(remote, login)["id"], form)


def _print_user(remote: Remote, number: int, form: str | None) -> None:
    found: Row = remote.request("user/get", userId=number)["user"]
    has_all = found["allDeviceTypesAvailable"]
    types = None if has_all else remote.request("user/getDeviceTypes", userId=number)["deviceTypes"]
    words = {heading: cell(found) for heading, cell in COLUMNS.items()}
    words["networks"] = _listed_names(found["networks"])
    words["device types"] = "all" if types is None else _listed_names(types)
    print_result(found | {"deviceTypes": types}, form, aligned(words), found["login"])


def _listed_names(rows: list[Row]) -> str:
    return ", ".join(printable(row["name"]) for row in rows) or "none"


@user.command(
    epilog="""\b
Examples:
  hivewire user delete alice"""
)
@_login_argument
@dry_run_option
@output_option
@with_gateway
def delete(remote: Remote, login: str, dry_run: bool, form: str | None) -> None:
    """Delete the user LOGIN. Its tokens end, and its open connections too."""
    number = find_user(remote, login)["id"]
    remote.request("user/delete", userId=number, dryRun=dry_run or None)
    print_result({"login": login, "id": number}, form, f"{login} {WOULD if dry_run else 'is'} deleted", login)


@user.command(
    epilog="""\b
Examples:
  hivewire user assign alice --network home --network office
  hivewire user assign alice --network 2 --type 3
  hivewire user assign alice --all-types

\b
A new user has all device types. To give it only some:
  hivewire user unassign alice --all-types
  hivewire user assign alice --type lamp"""
)
@_login_argument
@networks_option
@types_option
@_all_types_option
@dry_run_option
@output_option
@url_option
@token_option
def assign(
    login: str,
    networks: tuple[str, ...],
    types: tuple[str, ...],
    all_types: bool,
    dry_run: bool,
    form: str | None,
    url: str | None,
    given_token: str | None,
) -> None:
    """Make the user LOGIN a member of networks, and give it device types.

    A user of role client reaches the devices that are in one of its networks and have one of its types; an
    administrator reaches all. What the user has already is no error.
    """
    if types and all_types:
        raise click.UsageError("give --type or --all-types, not both")
    with _reach_for(networks, types, all_types, url, given_token) as remote:
        number, memberships = _memberships(remote, login, networks, types, all_types)
        asked: list[tuple[str, Row]] = [("user/allowAllDeviceTypes", {})] if all_types else []
        asked += [(f"user/assign{noun.title}", {f"{noun.one}Id": member}) for noun, member in memberships]
        _change_reach(remote, login, number, asked, dry_run, form)


@user.command(
    epilog="""\b
Examples:
  hivewire user unassign alice --network office
  hivewire user unassign alice --type lamp
  hivewire user unassign alice --all-types      (it keeps those that it is assigned)"""
)
@_login_argument
@networks_option
@types_option
@_all_types_option
@dry_run_option
@output_option
@url_option
@token_option
def unassign(
    login: str,
    networks: tuple[str, ...],
    types: tuple[str, ...],
    all_types: bool,
    dry_run: bool,
    form: str | None,
    url: str | None,
    given_token: str | None,
) -> None:
    """End the membership of the user LOGIN in networks, and take device types away.

    Its open connections reach less at once. What the user does not have is no error.
    """
    with _reach_for(networks, types, all_types, url, given_token) as remote:
        number, memberships = _memberships(remote, login, networks, types, all_types)
        if dry_run and all_types:  # types can be taken away one by one only when the user has no longer all
            memberships = [(noun, member) for noun, member in memberships if noun is not TYPE]
        asked: list[tuple[str, Row]] = [("user/disallowAllDeviceTypes", {})] if all_types else []
        asked += [(f"user/unassign{noun.title}", {f"{noun.one}Id": member}) for noun, member in memberships]
        _change_reach(remote, login, number, asked, dry_run, form)


def _reach_for(
    networks: tuple[str, ...], types: tuple[str, ...], all_types: bool, url: str | None, token: str | None
) -> AbstractContextManager[Remote]:
    """The gateway. Raises UsageError when the options name nothing."""
    if not (networks or types or all_types):
        raise click.UsageError("give --network, --type or --all-types")
    return reach(url, token)


def _memberships(
    remote: Remote, login: str, networks: tuple[str, ...], types: tuple[str, ...], all_types: bool
) -> tuple[int, list[tuple[Noun, int]]]:
    """The id of a user, and those of networks and types. Raises ClickException if one of them is wrong, so that
    nothing is changed then."""
    found = find_user(remote, login)
    if types and not all_types and found["allDeviceTypesAvailable"]:
        raise click.ClickException(
            f"{login} has all device types; to give it only some, run hivewire user unassign {login} --all-types first"
        )
    named = [(NETWORK, name) for name in networks] + [(TYPE, name) for name in types]
    return found["id"], [(noun, noun.find(remote, name)["id"]) for noun, name in named]


def _change_reach(
    remote: Remote, login: str, number: int, asked: list[tuple[str, Row]], dry_run: bool, form: str | None
) -> None:
    """Make all these requests about a user, and show what it reaches then."""
    for action, members in asked:
        remote.request(action, userId=number, **members, dryRun=dry_run or None)
    if dry_run:
        print_result({"login": login, "id": number}, form, f"{login} {WOULD} changed", login)
    else:
        _print_user(remote, number, form)


@user.command(
    epilog="""\b
Examples:
  hivewire user password alice
  hivewire user password alice --password-stdin < password.txt
  hivewire user password admin --data hivewire.db      (the gateway is stopped)"""
)
@_login_argument
@_stdin_option
@dry_run_option
@output_option
@data_option
@url_option
@token_option
def password(
    login: str,
    password_stdin: bool,
    dry_run: bool,
    form: str | None,
    data: Path | None,
    url: str | None,
    given_token: str | None,
) -> None:
    """Set the password of the user LOGIN.

    The tokens of the user stay valid until they expire: `hivewire user revoke LOGIN` ends them.
    """
    _update(login, {"password": _new_password("New password", password_stdin)}, data, url, given_token, dry_run)
    print_result({"login": login}, form, _done(login, dry_run, "given a new password", "has a new password"), login)


@user.command(
    epilog="""\b
Examples:
  hivewire user unlock alice
  hivewire user unlock admin --data hivewire.db      (the gateway is stopped)"""
)
@_login_argument
@dry_run_option
@output_option
@data_option
@url_option
@token_option
def unlock(
    login: str, dry_run: bool, form: str | None, data: Path | None, url: str | None, given_token: str | None
) -> None:
    """Make the user LOGIN active again and reset the count of its wrong passwords."""
    _update(login, {"status": Status.ACTIVE}, data, url, given_token, dry_run)
    print_result(
        {"login": login, "status": Status.ACTIVE.value}, form, _done(login, dry_run, "active", "is active"), login
    )


@user.command(
    epilog="""\b
Examples:
  hivewire user lock alice"""
)
@_login_argument
@click.option("--yes", is_flag=True, help="Lock LOGIN even if it is you.")
@dry_run_option
@output_option
@data_option
@url_option
@token_option
def lock(
    login: str, yes: bool, dry_run: bool, form: str | None, data: Path | None, url: str | None, given_token: str | None
) -> None:
    """Lock the user LOGIN: logins and tokens are refused from now on, on open connections too."""
    if data is None and not yes:
        _refuse_oneself(login, url, given_token)
    _update(login, {"status": Status.LOCKED_OUT}, data, url, given_token, dry_run)
    print_result(
        {"login": login, "status": Status.LOCKED_OUT.value},
        form,
        _done(login, dry_run, "locked out", "is locked out"),
        login,
    )


@user.command(
    epilog="""\b
Examples:
  hivewire user revoke alice"""
)
@_login_argument
@output_option
@with_gateway
def revoke(remote: Remote, login: str, form: str | None) -> None:
    """End all tokens of the user LOGIN, on open connections too: each program has to log in again.

    If LOGIN is you, your own tokens end as well.
    """
    found = find_user(remote, login)
    remote.request("token/revoke", userId=found["id"])
    print_result({"login": login, "id": found["id"]}, form, f"the tokens of {login} have ended", login)


@user.command(
    epilog="""\b
Examples:
  hivewire user role alice admin
  hivewire user role alice client"""
)
@_login_argument
@click.argument("role", type=_role)
@dry_run_option
@output_option
@data_option
@url_option
@token_option
def role(
    login: str, role: str, dry_run: bool, form: str | None, data: Path | None, url: str | None, given_token: str | None
) -> None:
    """Set the role of the user LOGIN: admin may do everything, client needs tokens that somebody makes for it.

    All its tokens end, on open connections too: its programs have to log in again, and get the rights of the new role.
    """
    _update(login, {"role": ROLES[role]}, data, url, given_token, dry_run)
    print_result(
        {"login": login, "role": ROLES[role].value},
        form,
        _done(login, dry_run, f"given the role {role}", f"has the role {role}"),
        login,
    )


def _refuse_oneself(login: str, url: str | None, token: str | None) -> None:
    """Raise UsageError if LOGIN is the caller, who could not undo the lock."""
    with reach(url, token) as remote:
        try:
            caller = remote.request("user/getCurrent")["current"]["login"]
        except RemoteError as error:
            if error.code != 403:
                raise
            return  # a token without that right: somebody made it for a program
    if caller == login:
        raise click.UsageError(f"{login} is you, and you could not unlock yourself; --yes locks it all the same")


def _new_password(prompt: str, from_stdin: bool) -> str:
    new = read_password(prompt, from_stdin, confirm=True)
    if not 6 <= len(new) <= 128:
        raise click.UsageError("a password has 6 to 128 characters")
    return new


def _done(login: str, dry_run: bool, would: str, words: str) -> str:
    return f"{login} {WOULD} {would}" if dry_run else f"{login} {words}"


def _is_a(login: str, role: str) -> str:
    return f"{login} has the role {role}"


def _word(words: dict[str, Role], number: int) -> str:
    return next((word for word, known in words.items() if known == number), str(number))


def _update(
    login: str, fields: dict[str, Any], data: Path | None, url: str | None, token: str | None, dry_run: bool
) -> None:
    if data is not None:
        refuse_dry_run(dry_run)
        _update_file(login, fields, data)
        return
    with reach(url, token) as remote:
        found = find_user(remote, login)
        # The gateway overwrites `data` with every update, so it is sent back unchanged.
        remote.request(
            "user/update", userId=found["id"], user={**fields, "data": found["data"]}, dryRun=dry_run or None
        )


def _update_file(login: str, fields: dict[str, Any], data: Path) -> None:
    """The same on the file itself."""
    from hivewire.ledger.records import NotDurable

    async def work(store: Store) -> None:
        found = store.users.by_login(login)
        if found is None:
            raise click.ClickException(f"there is no user {login} in {data}")
        former = found.content
        profile = structs.replace(
            former.with_role(fields.get("role", former.role)), status=fields.get("status", former.status)
        )
        if "password" in fields:
            profile.password_hash = await store.passwords.hash(fields["password"])
        try:
            await store.ledger.commit(store.users.write(login, profile, None))
        except NotDurable as error:
            raise click.ClickException(str(error)) from None

    work_on_file(data, work)
