"""`hivewire network` and `hivewire type`: the same commands for networks and for device types, by name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click

from hivewire.cli import plain
from hivewire.cli.errors import RefusedByGateway, RemoteError
from hivewire.cli.gateway import (
    MOST_COMPLETED,
    WOULD,
    Access,
    completion,
    dry_run_option,
    find_access,
    since_option,
    snapshot_option,
    token_option,
    url_option,
    with_gateway,
)
from hivewire.cli.help import Group
from hivewire.cli.listing import listed
from hivewire.cli.output import Columns, Row, Text, aligned, on_one_line, output_option, print_result, printable, show

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

COLUMNS: Columns = {
    "id": lambda row: str(row["id"]),
    "name": Text(lambda row: row["name"]),
    "description": Text(lambda row: row["description"] or ""),
}

DEVICES: Columns = {
    "device": lambda row: row["id"],
    "name": Text(lambda row: row["name"]),
    "blocked": lambda row: "blocked" if row["isBlocked"] else "",
}


class Noun(NamedTuple):
    """How the command, its help, and the actions of the API call it."""

    command: str
    words: str
    action: str
    one: str
    many: str
    example: str

    @property
    def title(self) -> str:
        """As it is called in the actions of users, such as `user/assignDeviceType`."""
        return self.one[:1].upper() + self.one[1:]

    def find(self, remote: Remote, name: str) -> Row:
        """The one with this name, or else with this id. Raises ClickException when the caller may see none."""
        found: list[Row] = remote.request(f"{self.action}/list", name=name)[self.many]
        if not found and name.isdecimal():
            found = [row for row in listed(remote, f"{self.action}/list", self.many) if row["id"] == int(name)]
        if not found:
            raise click.ClickException(f"there is no {self.words} {printable(name)}")
        return found[0]

    def names(self, remote: Remote, beginning: str) -> list[str]:
        """Some names, for shell completion: those that begin so, and perhaps others."""
        found = remote.request(f"{self.action}/list", namePattern=f"{beginning}%", take=MOST_COMPLETED)
        return [row["name"] for row in found[self.many]]

    def ids(self, access: Access, given: Iterable[str]) -> list[int]:
        """The ids of those with these names. Raises as `find`."""
        from hivewire.cli.remote import Remote  # here, so that help and completion load no network library

        names = [*given]
        if not names:
            return []
        with Remote(access.url) as remote:
            remote.authenticate(access)
            return [self.find(remote, name)["id"] for name in names]

    def examples(self, *lines: str) -> str:
        """The end of a command's help."""
        return "\b\nExamples:\n" + "\n".join(f"  hivewire {self.command} {line}" for line in lines)


class Names:
    """The names of networks or device types by their ids, read as far as they are needed; an id without a name that
    the caller may see is shown as it is."""

    def __init__(self, remote: Remote, noun: Noun) -> None:
        self._list = partial(listed, remote, f"{noun.action}/list", noun.many)
        self._rows = self._list()
        self._known: dict[int, str] = {}

    def __call__(self, number: int) -> str:
        """The name, or else the id."""
        if number not in self._known:
            self._read_up_to(number)
        return self._known.setdefault(number, str(number))

    def _read_up_to(self, number: int) -> None:
        try:
            for row in self._rows:
                self._known[row["id"]] = row["name"]
                if row["id"] == number:
                    return
        except RemoteError as error:
            if error.code != 403:
                raise
        self._rows = self._list()  # for those that are made from now on


WATCHED = """
\b
On a terminal it prints a line for each that is there and each change. Into a
pipe it prints one JSON object per line, as the gateway pushes it, with a `type`
(snapshot, change, bookmark or reset) and the position from which to resume.

\b
After a restart of the gateway it reconnects, and misses and repeats nothing;
it reports this on standard error. If the gateway cannot resume from the last
position, it says why on standard error, and prints `reset` and the whole state."""
"""What the help of all that follow the fleet says at the end."""


def _add_commands(group: click.Group, noun: Noun) -> None:
    """Give a group the commands for its noun."""
    words, example, name_argument = (
        noun.words,
        noun.example,
        click.argument("name", shell_complete=completion(noun.names)),
    )

    @group.command(help=f"Create the {words} NAME.", epilog=noun.examples(f"add {example}"))
    @name_argument
    @click.option("--description", help="A description, up to 128 characters.")
    @dry_run_option
    @output_option
    @with_gateway
    def add(remote: Remote, name: str, description: str | None, dry_run: bool, form: str | None) -> None:
        fields = {"name": name, "description": description}
        made = remote.request(f"{noun.action}/insert", **{noun.one: fields}, dryRun=dry_run or None)
        number = made[noun.one]["id"]
        how = f"{WOULD} created" if dry_run else f"is created (id {number})"
        print_result({"id": number, **fields}, form, f"the {words} {printable(name)} {how}", str(number))

    @group.command(
        "list",
        help=f"List {words}s: all that you may see, or those that match PATTERN (% is any characters, _ is one).",
        epilog=noun.examples("list", f"list '{example[:1]}%' -o value"),
    )
    @click.argument("pattern", required=False)
    @output_option
    @with_gateway
    def list_(remote: Remote, pattern: str | None, form: str | None) -> None:
        show(listed(remote, f"{noun.action}/list", noun.many, namePattern=pattern), form, COLUMNS, "name")

    @group.command(
        help=f"Show the {words} NAME. With -o value only its id.",
        epilog=noun.examples(f"get {example}", f"get {example} -o value"),
    )
    @name_argument
    @output_option
    @with_gateway
    def get(remote: Remote, name: str, form: str | None) -> None:
        found = noun.find(remote, name)
        shown = aligned({heading: printable(cell(found)) for heading, cell in COLUMNS.items()})
        print_result(found, form, shown, str(found["id"]))

    @group.command(
        help=f"List the devices of the {words} NAME.",
        epilog=noun.examples(f"devices {example}", f"devices {example} -o value"),
    )
    @name_argument
    @output_option
    @with_gateway
    def devices(remote: Remote, name: str, form: str | None) -> None:
        path = f"/api/rest/{noun.action}/{noun.find(remote, name)['id']}"
        found = plain.checked(plain.ask(remote.url, "GET", path, remote.token))  # a message could not hold any number
        show(plain.object_of(found)["devices"], form, DEVICES, "device")

    @group.command(
        help=f"Change the name or the description of the {words} NAME.",
        epilog=noun.examples(f"change {example} --name {example}2", f"change {example} --description ''"),
    )
    @name_argument
    @click.option("--name", "new_name", help="The new name.")
    @click.option("--description", help="The new description.")
    @dry_run_option
    @output_option
    @with_gateway
    def change(
        remote: Remote, name: str, new_name: str | None, description: str | None, dry_run: bool, form: str | None
    ) -> None:
        if new_name is None and description is None:
            raise click.UsageError("give --name or --description")
        found = noun.find(remote, name)
        fields = {"name": new_name, "description": description}
        asked = {f"{noun.one}Id": found["id"], noun.one: fields}
        remote.request(f"{noun.action}/update", **asked, dryRun=dry_run or None)
        row = found | {member: value for member, value in fields.items() if value is not None}
        print_result(row, form, f"the {words} {printable(name)} {WOULD if dry_run else 'is'} changed", row["name"])

    @group.command(
        help=f"Delete the {words} NAME. One that has devices is deleted only with --force, and they with it.",
        epilog=noun.examples(f"delete {example}", f"delete {example} --force"),
    )
    @name_argument
    @click.option("--force", is_flag=True, help="Delete its devices too.")
    @dry_run_option
    @output_option
    @with_gateway
    def delete(remote: Remote, name: str, force: bool, dry_run: bool, form: str | None) -> None:
        found = noun.find(remote, name)
        asked = {f"{noun.one}Id": found["id"], "force": force, "dryRun": dry_run or None}
        try:
            remote.request(f"{noun.action}/delete", **asked)
        except RemoteError as error:
            if force or error.code != 400:  # the request is well-formed, so it has devices
                raise
            hint = "  --force deletes them too"
            raise RefusedByGateway(f"{on_one_line(str(error))}\n{hint}", error.code) from None
        print_result(found, form, f"the {words} {printable(name)} {WOULD if dry_run else 'is'} deleted", name)

    @group.command(
        help=f"Show {words}s and their changes: all that you may see, or those with a NAME. Ctrl-C ends it.",
        epilog=noun.examples("watch", f"watch {example} --json") + "\n" + WATCHED,
    )
    @click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion(noun.names))
    @since_option
    @snapshot_option
    @output_option
    @url_option
    @token_option
    def watch(
        url: str | None,
        given_token: str | None,
        names: tuple[str, ...],
        since: str | None,
        no_snapshot: bool,
        form: str | None,
    ) -> None:
        from hivewire.cli.fleet_watch import watch_fleet

        access = find_access(url, given_token)
        wanted = {f"{noun.one}Ids": noun.ids(access, names) or None, "snapshot": False if no_snapshot else None}
        watch_fleet(access, noun, wanted, since, form, lambda remote: COLUMNS)


@click.group(cls=Group, no_args_is_help=True)
def network() -> None:
    """Manage networks: groups of devices, which their members reach."""


@click.group("type", cls=Group, no_args_is_help=True)
def device_type() -> None:
    """Manage device types: another way to group devices."""


NETWORK = Noun("network", "network", "network", "network", "networks", "home")
TYPE = Noun("type", "device type", "devicetype", "deviceType", "deviceTypes", "lamp")

_add_commands(network, NETWORK)
_add_commands(device_type, TYPE)

networks_option = click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="NAME",
    shell_complete=completion(NETWORK.names),
    help="A network, by name or id; may be repeated.",
)
types_option = click.option(
    "--type",
    "types",
    multiple=True,
    metavar="NAME",
    shell_complete=completion(TYPE.names),
    help="A device type, by name or id; may be repeated.",
)
