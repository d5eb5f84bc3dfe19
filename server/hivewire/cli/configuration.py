"""`hivewire put`, `get`, `list` and `delete`."""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import click
import msgspec

from hivewire.cli.gateway import connected
from hivewire.remote import Remote, RemoteError

PAGE = 1_000

expect_option = click.option(
    "--expect", type=int, metavar="VERSION", help="Only if this is the current version; 0: only if it does not exist."
)
expect_revision_option = click.option(
    "--expect-revision", type=int, metavar="REVISION", help="Only if its last change has this revision."
)
description_option = click.option("--description", help="Why, for whoever reads the history.")


@click.command(
    epilog="""\b
Examples:
  hivewire put limits.max 42
  hivewire put limits.max 43 --expect 7 --description "for the sale"
  hivewire put banner --file banner.txt
  jq -c . ports.json | hivewire put ports - --content-type application/json"""
)
@click.argument("name")
@click.argument("value", required=False)
@click.option("--file", type=click.File("rb"), help="Take the value from a file; a newline at its end is kept.")
@click.option("--content-type", help="Its media type; text/plain when not given.")
@description_option
@expect_option
@expect_revision_option
@connected
def put(
    remote: Remote,
    name: str,
    value: str | None,
    file: BinaryIO | None,
    content_type: str | None,
    description: str | None,
    expect: int | None,
    expect_revision: int | None,
) -> None:
    """Create or update the configuration NAME. VALUE `-` is standard input, without the newline at its end.

    With --expect the gateway refuses to overwrite what you have not seen, and this command shows what is there.
    """
    if (value is None) == (file is None):
        raise click.UsageError("give either VALUE or --file")
    try:
        if file is not None:
            value = file.read().decode()
        elif value == "-":
            value = sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise click.ClickException("the value is not UTF-8 text") from None
    reply = _expecting(
        remote,
        "configuration/put",
        name=name,
        value=value,
        contentType=content_type,
        description=description,
        entityVersion=expect,
        revision=expect_revision,
    )
    click.echo(f"{name} is at version {reply['configuration']['entityVersion']} (revision {reply['revision']})")


@click.command(
    epilog="""\b
Examples:
  hivewire get limits.max
  max=$(hivewire get limits.max)
  hivewire get banner > banner.txt
  hivewire get limits.max --json"""
)
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the whole resource with its version and revision.")
@connected
def get(remote: Remote, name: str, as_json: bool) -> None:
    """Print the value of the configuration NAME.

    On a terminal a newline follows; into a file or a pipe goes the value and nothing else.
    """
    reply = remote.request("configuration/get", name=name)
    resource = reply["configuration"]
    if as_json:
        click.echo(_json(resource | {"revision": reply["revision"]}))
    elif resource["value"] is None:
        raise click.ClickException(
            f"{name} is {resource['contentType']} of {resource['size']} bytes, which is not shown as text; try --json"
        )
    else:
        click.echo(resource["value"], nl=sys.stdout.isatty())


@click.command(
    "list",
    epilog="""\b
Examples:
  hivewire list
  hivewire list 'limits.*' ports
  hivewire list --json | jq .value
  hivewire list | cut -f1

\b
On a terminal it is a table; into a pipe goes a line for each configuration:
name, version and value, separated by tabs, with \\t, \\n and \\\\ escaped.""",
)
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--after", help="Start behind this name.")
@click.option("--take", type=click.IntRange(min=0), help="So many at most; everything when not given.")
@connected
def list_(remote: Remote, patterns: tuple[str, ...], as_json: bool, after: str | None, take: int | None) -> None:
    """List configurations by name: all that you may see, or those that match a PATTERN (a name, or a prefix*)."""
    table = None
    if sys.stdout.isatty() and not as_json:
        from rich.table import Table

        table = Table("name", "version", "value", box=None, pad_edge=False)
    for resource in _pages(remote, patterns, after, take):
        if table is not None:
            from rich.text import Text

            table.add_row(Text(resource["name"]), str(resource["entityVersion"]), Text(_shown(resource)))
        elif as_json:
            click.echo(_json(resource))
        else:
            fields = (resource["name"], str(resource["entityVersion"]), _shown(resource))
            click.echo("\t".join(map(_escaped, fields)))
    if table is not None:
        from rich.console import Console

        Console().print(table)


@click.command(
    epilog="""\b
Examples:
  hivewire delete limits.max
  hivewire delete limits.max --expect 7 --description "no longer used\""""
)
@click.argument("name")
@description_option
@expect_option
@expect_revision_option
@connected
def delete(remote: Remote, name: str, description: str | None, expect: int | None, expect_revision: int | None) -> None:
    """Delete the configuration NAME. Its history is kept."""
    reply = _expecting(
        remote,
        "configuration/delete",
        name=name,
        description=description,
        entityVersion=expect,
        revision=expect_revision,
    )
    click.echo(f"{name} is deleted (revision {reply['revision']})")


def _expecting(remote: Remote, action: str, **members: Any) -> dict[str, Any]:
    """A write; a conflict is shown with what is there now."""
    try:
        return remote.request(action, **members)
    except RemoteError as error:
        if error.code != 409:
            raise
        raise click.ClickException("\n".join([str(error), *_current(error.reply.get("change"))])) from None


def _current(change: dict[str, Any] | None) -> list[str]:
    if change is None:
        return ["  it has never existed"]
    resource = change["configuration"]
    who = f"by {change['modifiedBy'] or 'the gateway'} at {change['modified']} UTC (revision {change['revision']})"
    why = [f"  reason: {change['description']}"] if change["description"] else []
    if change["operation"] == "delete":
        return [f"  deleted {who}", *why]
    value = _shown(resource)
    return [f"  now: {value if len(value) <= 500 else value[:500] + '...'}", f"  put {who}", *why]


def _pages(remote: Remote, patterns: tuple[str, ...], after: str | None, take: int | None) -> Any:
    """Everything that matches, page by page; smaller pages when the values are large."""
    left, size = take, PAGE
    while left is None or left > 0:
        try:
            asked = size if left is None else min(size, left)
            reply = remote.request("configuration/list", names=list(patterns) or None, after=after, take=asked)
        except RemoteError as error:
            if error.code != 413 or size == 1:
                raise
            size = max(1, size // 4)
            continue
        page = reply["configurations"]
        yield from page
        if len(page) < asked:
            return
        after = page[-1]["name"]
        left = None if left is None else left - len(page)


def _shown(resource: dict[str, Any]) -> str:
    value = resource["value"]
    return str(value) if value is not None else f"({resource['contentType']}, {resource['size']} bytes)"


def _escaped(field: str) -> str:
    return field.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
