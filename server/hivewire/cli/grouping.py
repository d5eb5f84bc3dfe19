"""`hivewire network` and `hivewire type`: the same commands for networks and for device types, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from hivewire.cli import plain
from hivewire.cli.gateway import MOST_COMPLETED, completion, with_gateway
from hivewire.cli.help import Group
from hivewire.cli.listing import listed
from hivewire.cli.output import Columns, Row, output_option, print_result, printable, show

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

COLUMNS: Columns = {
    "id": lambda row: str(row["id"]),
    "name": lambda row: row["name"],
    "description": lambda row: row["description"] or "",
}

DEVICES: Columns = {
    "device": lambda row: row["id"],
    "name": lambda row: row["name"],
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

    def examples(self, *lines: str) -> str:
        """The end of a command's help."""
        return "\b\nExamples:\n" + "\n".join(f"  hivewire {self.command} {line}" for line in lines)


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
    @output_option
    @with_gateway
    def add(remote: Remote, name: str, description: str | None, form: str | None) -> None:
        made = remote.request(f"{noun.action}/insert", **{noun.one: {"name": name, "description": description}})
        number = made[noun.one]["id"]
        row = {"id": number, "name": name, "description": description}
        print_result(row, form, f"the {words} {printable(name)} is created (id {number})", str(number))

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
    @output_option
    @with_gateway
    def change(remote: Remote, name: str, new_name: str | None, description: str | None, form: str | None) -> None:
        if new_name is None and description is None:
            raise click.UsageError("give --name or --description")
        found = noun.find(remote, name)
        fields = {"name": new_name, "description": description}
        remote.request(f"{noun.action}/update", **{f"{noun.one}Id": found["id"], noun.one: fields})
        row = found | {member: value for member, value in fields.items() if value is not None}
        print_result(row, form, f"the {words} {printable(name)} is changed", row["name"])

    @group.command(
        help=f"Delete the {words} NAME. One that has devices is deleted only with --force, and they with it.",
        epilog=noun.examples(f"delete {example}", f"delete {example} --force"),
    )
    @name_argument
    @click.option("--force", is_flag=True, help="Delete its devices too.")
    @output_option
    @with_gateway
    def delete(remote: Remote, name: str, force: bool, form: str | None) -> None:
        found = noun.find(remote, name)
        remote.request(f"{noun.action}/delete", **{f"{noun.one}Id": found["id"]}, force=force)
        print_result(found, form, f"the {words} {printable(name)} is deleted", name)


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
