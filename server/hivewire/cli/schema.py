"""`hivewire schema`: what values under a name may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from msgspec import Raw

from hivewire.cli.configuration import (
    description_option,
    expect_option,
    explain_refusal,
    write,
)
from hivewire.cli.errors import RefusedByGateway
from hivewire.cli.gateway import WOULD, completion, dry_run_option, with_gateway
from hivewire.cli.given import JsonSchema
from hivewire.cli.help import Group, WholeNumber
from hivewire.cli.output import Columns, Row, Text, as_json, local, output_option, print_result, printable, show

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

PAGE = 100


@click.group(
    cls=Group,
    no_args_is_help=True,
    epilog="""\b
Examples:
  hivewire schema put ports '{"type":"array","items":{"type":"integer","maximum":65535}}'
  hivewire schema check ports '[80,443]'""",
)
def schema() -> None:
    """Manage schemas: what values under a name may be (JSON Schema), and which values are secret."""


def _patterns(remote: Remote, beginning: str) -> list[str]:
    """Names that have a schema, for shell completion."""
    return [row["names"] for row in _rows(remote, None) if row["names"].startswith(beginning)]


_names_argument = click.argument("names", shell_complete=completion(_patterns))


@schema.command(
    epilog="""\b
Examples:
  hivewire schema put ports '{"type":"array","items":{"type":"integer","maximum":65535}}'
  hivewire schema put 'limits.*' @limits.schema.json --dry-run
  hivewire schema put 'db.password*' --secret

\b
With "type":"string" a schema judges the text of a value, otherwise the value as JSON."""
)
@_names_argument
@click.argument("schema", type=JsonSchema(), required=False)
@click.option("--secret", is_flag=True, help="The values are secret, and shown only to callers with RevealSecret.")
@click.option("--force", is_flag=True, help="Leave stored values as they are, even if they do not fit.")
@description_option
@expect_option
@dry_run_option
@output_option
@with_gateway
def put(
    remote: Remote,
    names: str,
    schema: Raw | None,
    secret: bool,
    force: bool,
    description: str | None,
    expect: int | None,
    dry_run: bool,
    form: str | None,
) -> None:
    """Set the SCHEMA of NAMES: one name, or a prefix that ends in *. @FILE reads it from a file, - from standard input.

    It is refused while stored values do not fit. The schema of the exact name counts before that of the longest prefix.
    """
    if schema is None and not secret:
        raise click.UsageError("give SCHEMA, --secret, or both")
    members = {"schema": schema, "secret": secret or None, "force": force or None, "description": description}
    reply = write(remote, "schema/put", names=names, entityVersion=expect, dryRun=dry_run or None, **members)
    row = reply["schema"]
    version = row["entityVersion"]
    words = f"{WOULD} at version" if dry_run else "is at version"
    print_result(row, form, f"the schema of {printable(names)} {words} {version}", str(version))


@schema.command(
    "list",
    epilog="""\b
Examples:
  hivewire schema list
  hivewire schema list limits.max         (the one that this name has)
  hivewire schema list -o value""",
)
@click.argument("name", required=False)
@output_option
@with_gateway
def list_(remote: Remote, name: str | None, form: str | None) -> None:
    """List the schemas of names that you may see, or the one that NAME has."""
    show(_rows(remote, name), form, COLUMNS, "names")


COLUMNS: Columns = {
    "names": Text(lambda row: printable(row["names"])),
    "secret": lambda row: "yes" if row["secret"] else "",
    "version": lambda row: str(row["entityVersion"]),
    "changed": lambda row: local(row["modified"]),
    "by": Text(lambda row: row["modifiedBy"] or ""),
    "schema": Text(lambda row: "" if row["schema"] is None else as_json(row["schema"])),
}


@schema.command(
    epilog="""\b
Examples:
  hivewire schema history ports
  hivewire schema history 'limits.*' --take 3
  hivewire schema history ports --json | jq .schema"""
)
@_names_argument
@click.option(
    "--take", type=WholeNumber(min=1, max=100), metavar="N", default=20, show_default=True, help="At most this many."
)
@output_option
@with_gateway
def history(remote: Remote, names: str, take: int, form: str | None) -> None:
    """Show the changes of the schema of NAMES, newest first, including deletes and what came before them."""
    show(remote.request("schema/history", names=names, take=take)["changes"], form, CHANGES, "schema")


CHANGES: Columns = {
    "revision": lambda row: str(row["revision"]),
    "version": lambda row: str(row["entityVersion"] or ""),
    "when": lambda row: local(row["modified"]),
    "who": Text(lambda row: row["modifiedBy"] or ""),
    "secret": COLUMNS["secret"],
    "schema": Text(lambda row: "(deleted)" if row["operation"] == "delete" else COLUMNS["schema"](row)),
    "why": Text(lambda row: printable(row["description"] or "")),
}


def _rows(remote: Remote, name: str | None) -> Iterator[Row]:
    after = None
    while True:
        page = remote.request("schema/list", name=name, after=after, take=PAGE)["schemas"]
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1]["names"]


@schema.command(
    epilog="""\b
Examples:
  hivewire schema check ports '[80,443]'
  hivewire schema check ports '[80,443]' --schema @ports.schema.json
  hivewire schema check 'limits.*' --schema @limits.schema.json

\b
The exit code is 1 if something does not fit."""
)
@click.argument("name")
@click.argument("value", required=False)
@click.option("--schema", type=JsonSchema(), help="Use this schema, @FILE, or - for standard input.")
@output_option
@with_gateway
def check(remote: Remote, name: str, value: str | None, schema: Raw | None, form: str | None) -> None:
    """Check whether VALUE fits the schema of NAME, or --schema. Without VALUE, whether the stored values of NAME fit
    --schema. Nothing is written."""
    if value is None and schema is None:
        raise click.UsageError("give VALUE, --schema, or both")
    asked: dict[str, Any] = {"name": name} if schema is None else {"schema": schema}
    if value is None:
        asked["names"] = name
    with explain_refusal():
        reply = remote.request("schema/check", value=value, **asked)
    if not reply["fits"] and form is None:
        raise RefusedByGateway("\n".join(_complaints(name, reply)), 422)
    has_none = schema is None and reply["names"] is None
    words = f"{printable(name)} has no schema: every value fits" if has_none else f"{printable(name)} fits"
    print_result(reply, form, words, "true" if reply["fits"] else "false")
    if not reply["fits"]:
        raise click.exceptions.Exit(1)


def _complaints(name: str, reply: Row) -> Iterator[str]:
    yield f"{printable(name)} does not fit its schema"
    for problem in reply.get("problems", ()):
        yield f"  {_words(problem)}"
    for misfit in reply.get("misfits", ()):
        yield f"  {printable(misfit['name'])}: {'; '.join(map(_words, misfit['problems'])) or 'too long to describe'}"


def _words(problem: Row) -> str:
    return ": ".join(printable(part) for part in (problem["pointer"], problem["message"]) if part)


@schema.command(
    epilog="""\b
Examples:
  hivewire schema delete 'limits.*'"""
)
@_names_argument
@description_option
@expect_option
@dry_run_option
@output_option
@with_gateway
def delete(
    remote: Remote, names: str, description: str | None, expect: int | None, dry_run: bool, form: str | None
) -> None:
    """Delete the schema of NAMES. The values stay as they are."""
    reply = write(
        remote, "schema/delete", names=names, description=description, entityVersion=expect, dryRun=dry_run or None
    )
    words = f"{WOULD if dry_run else 'is'} deleted"
    row = {"names": names, "revision": reply.get("revision")}
    print_result(row, form, f"the schema of {printable(names)} {words}", names)
