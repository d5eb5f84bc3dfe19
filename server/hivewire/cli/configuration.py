"""`hivewire put`, `get`, `list` and `delete`."""

from __future__ import annotations

import mimetypes
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from hivewire.cli import contents
from hivewire.cli.errors import RefusedByGateway, RemoteError
from hivewire.cli.gateway import (
    WOULD,
    complete_names,
    dry_run_option,
    reach,
    token_option,
    url_option,
    with_gateway,
)
from hivewire.cli.given import Span, read_all
from hivewire.cli.help import WholeNumber
from hivewire.cli.output import (
    Columns,
    Text,
    lines,
    local,
    on_one_line,
    output_option,
    print_bytes,
    print_result,
    printable,
    shorten,
    show,
    warn,
)

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

PAGE, EVERY_LAYER = 1_000, "*"

name_argument = click.argument("name", shell_complete=complete_names)
patterns_argument = click.argument("patterns", nargs=-1, metavar="[PATTERN]...", shell_complete=complete_names)
expect_option = click.option(
    "--expect",
    type=WholeNumber(min=0),
    metavar="VERSION",
    help="Only if this is the current version; 0: only if it does not exist.",
)
expect_revision_option = click.option(
    "--expect-revision",
    type=WholeNumber(min=0),
    metavar="REVISION",
    help="Only if its last change has this revision.",
)
description_option = click.option("--description", help="The reason, which the history shows.")

_F = TypeVar("_F", bound=Callable[..., Any])


def current_options(command: _F) -> _F:
    """Add `--at-least` and `--fresh`, for reads where several gateways serve one ledger; see `current`."""
    at_least = click.option(
        "--at-least",
        type=WholeNumber(min=0),
        metavar="REVISION",
        help="Wait until the gateway has this revision, that of a write; at most 5 s.",
    )
    fresh = click.option("--fresh", is_flag=True, help="Show all that was written on any gateway before.")
    return at_least(fresh(command))


layer_option = click.option(
    "--layer", metavar="LAYER", help="In this layer: global, device/ID, or one of `hivewire layer list`."
)

reveal_option = click.option("--reveal", is_flag=True, help="Show it even if it is secret; the audit notes that.")
at_option = click.option(
    "--at", metavar="TIME", help="Write it at this time, such as 2026-03-01T09:30:00Z: see hivewire schedule."
)


def current(at_least: int | None, fresh: bool) -> dict[str, Any]:
    """The members of a request for these options."""
    return {"atLeast": at_least, "fresh": True if fresh else None}


@click.command(
    epilog="""\b
Examples:
  hivewire put limits.max 42
  hivewire put limits.max 43 --expect 7 --description "for the sale"
  hivewire put temperature.min -- -5
  hivewire put banner --file banner.txt
  hivewire put logo --file logo.png
  hivewire put banner "Back soon" --ttl 2h
  hivewire put banner "Open again" --at 2026-03-01T09:30:00Z
  hivewire put limits.max 43 -o value       (the new version, for --expect)
  jq -c . ports.json | hivewire put ports - --content-type application/json"""
)
@name_argument
@click.argument("value", required=False)
@click.option("--file", type=click.File("rb"), help="Read the value from a file, unchanged; - is standard input.")
@click.option("--content-type", help="The media type; default text/plain, for binary files guessed from the name.")
@click.option("--no-check", is_flag=True, help="Store a value of a JSON type even if it is not valid JSON.")
@click.option("--ttl", type=Span(), help="Delete it after this time, such as 90s, 30m or 7d, unless it is put again.")
@click.option("--expires", metavar="TIME", help="Delete it at this time, such as 2026-03-01T09:30:00Z, likewise.")
@at_option
@description_option
@expect_option
@expect_revision_option
@layer_option
@dry_run_option
@output_option
@url_option
@token_option
def put(
    url: str | None,
    given_token: str | None,
    name: str,
    value: str | None,
    file: BinaryIO | None,
    content_type: str | None,
    no_check: bool,
    ttl: int | None,
    expires: str | None,
    at: str | None,
    description: str | None,
    expect: int | None,
    expect_revision: int | None,
    layer: str | None,
    dry_run: bool,
    form: str | None,
) -> None:
    """Create or update the configuration NAME. VALUE `-` is standard input, without the newline at its end.

    With --expect the gateway does not overwrite a version that you have not seen; the command then shows the current
    one. Put `--` before a VALUE that begins with a minus sign.
    """
    if ttl is not None and expires is not None:
        raise click.UsageError("give either --ttl or --expires")
    content = _content(value, file)
    asked = {
        "check": False if no_check else None,
        "ttl": ttl,
        "expires": expires,
        "description": description,
        "entityVersion": expect,
        "revision": expect_revision,
    }
    tried = dry_run or None
    with reach(url, given_token) as remote:
        if isinstance(content, bytes):
            if layer is not None or at is not None:
                raise click.UsageError("only text is in layers, and is written later")
            with explain_refusal():
                reply = contents.put(
                    remote, name, content, content_type or _guess_type(file), asked | {"dryRun": tried}
                )
        else:
            asked |= {"name": name, "value": content, "contentType": content_type, "layer": layer}
            if at is not None:
                change = {member: given for member, given in asked.items() if given is not None}
                changes = [{"operation": "put", **change}]
                print_scheduled(write(remote, "configuration/transact", changes=changes, at=at, dryRun=tried), form)
                _warn_of_star(name)
                return
            reply = write(remote, "configuration/put", **asked, dryRun=tried)
    print_written(reply, form, "")
    _warn_of_star(name)


@click.command(
    epilog="""\b
Examples:
  hivewire get limits.max
  max=$(hivewire get limits.max)
  hivewire get banner > banner.txt
  hivewire get logo > logo.png
  hivewire get limits.max --json            (with its version and revision)"""
)
@name_argument
@layer_option
@reveal_option
@current_options
@output_option
@with_gateway
def get(
    remote: Remote, name: str, layer: str | None, reveal: bool, at_least: int | None, fresh: bool, form: str | None
) -> None:
    """Print the value of the configuration NAME.

    On a terminal a newline follows; a file or a pipe gets only the value.
    """
    try:
        asked = {"layer": layer, "reveal": reveal or None, **current(at_least, fresh)}
        reply = remote.request("configuration/get", name=name, **asked)
    except RemoteError as error:
        if error.code == 404 and layer is None and _begins(remote, name):
            shows = f"  hivewire list {shlex.quote(printable(name) + '*')} shows the names that begin like this"
            raise RefusedByGateway(f"{on_one_line(str(error))}\n{shows}", error.code) from None
        raise
    resource = reply["configuration"]
    if form not in (None, "value"):
        show([resource | {"revision": reply["revision"]}], form, COLUMNS, "value")
    elif resource.get("secret"):
        raise is_secret(name)
    elif resource["value"] is None:
        if sys.stdout.isatty():
            raise click.ClickException(f"{name} is {shown(resource)[1:-1]}: send it to a file with >")
        print_bytes(contents.get(remote.url, remote.token, name, reply["revision"], reveal=reveal))
    else:
        # Bytes, so that the locale cannot change the value.
        on_terminal = sys.stdout.isatty()
        click.echo((lines(resource["value"]) if on_terminal else resource["value"]).encode(), nl=on_terminal)


def is_secret(name: str) -> RefusedByGateway:
    """The error for a secret value that was not asked for with `--reveal`."""
    return RefusedByGateway(f"the value of {printable(name)} is secret; --reveal shows it, with RevealSecret", 403)


@click.command(
    "list",
    epilog="""\b
Examples:
  hivewire list
  hivewire list 'limits.*' ports
  hivewire list | jq -r .name               (only the names)
  hivewire list 'limits.*' -o value         (only the values)
  hivewire list -o table > limits.txt""",
)
@patterns_argument
@layer_option
@output_option
@click.option("--after", help="Start after this name.")
@click.option("--take", type=WholeNumber(min=0), metavar="N", help="At most this many; default all.")
@current_options
@with_gateway
def list_(
    remote: Remote,
    patterns: tuple[str, ...],
    layer: str | None,
    form: str | None,
    after: str | None,
    take: int | None,
    at_least: int | None,
    fresh: bool,
) -> None:
    """List configurations by name: all that you may see, or those that match a PATTERN (a name, or a prefix*).

    --layer '*' lists those of all layers.
    On a terminal it is a table; into a pipe goes a JSON object for each.
    """
    replies = pages(remote, patterns, after, take, layer, **current(at_least, fresh))
    found = (resource for reply in replies for resource in reply["configurations"])
    first = next(found, None)
    columns = COLUMNS if layer is None else LAYERED
    show(found if first is None else chain([first], found), form, columns, "value")
    if first is None and take != 0 and layer is None:
        _hint(remote, patterns)


def _hint(remote: Remote, patterns: tuple[str, ...]) -> None:
    """Say on standard error which of the patterns would have found something with a star at its end."""
    for pattern in patterns:
        longer = f"{pattern}*"
        if "*" not in pattern and _begins(remote, pattern):
            click.echo(f"hivewire: there is no {printable(pattern)}; did you mean '{printable(longer)}'?", err=True)


def _begins(remote: Remote, start: str) -> bool:
    """Whether a visible name begins with a text."""
    try:
        return bool(remote.request("configuration/list", names=[f"{start}*"], take=1)["configurations"])
    except RemoteError:  # such as for a text with a star in it
        return False


@click.command(
    epilog="""\b
Examples:
  hivewire delete limits.max
  hivewire delete limits.max --expect 7 --description "no longer used\""""
)
@name_argument
@description_option
@expect_option
@expect_revision_option
@layer_option
@dry_run_option
@output_option
@with_gateway
def delete(
    remote: Remote,
    name: str,
    description: str | None,
    expect: int | None,
    expect_revision: int | None,
    layer: str | None,
    dry_run: bool,
    form: str | None,
) -> None:
    """Delete the configuration NAME. Its history is kept."""
    reply = write(
        remote,
        "configuration/delete",
        name=name,
        description=description,
        entityVersion=expect,
        revision=expect_revision,
        layer=layer,
        dryRun=dry_run or None,
    )
    revision = reply.get("revision")
    words = f"{WOULD} deleted{affected(reply)}" if dry_run else f"is deleted (revision {revision})"
    row = {"name": name, "revision": revision, **affects(reply)}
    print_result(row, form, f"{printable(name)} {words}", str(revision or ""))


def _warn_of_star(name: str) -> None:
    """Say that a name with a star is no pattern, which it is in the commands that read."""
    if "*" in name:
        warn(f"{printable(name)} is the name of one configuration, not a pattern")


def _content(value: str | None, file: BinaryIO | None) -> str | bytes:
    """The value from the argument, a file or standard input; bytes if a file is not text.

    Raises UsageError, or ClickException when it cannot be read.
    """
    if (value is None) == (file is None):
        raise click.UsageError("give either VALUE or --file; a VALUE of - is standard input")
    try:
        if file is not None:
            return _text_or_bytes(read_all(file))
        if value == "-":
            return read_all(sys.stdin.buffer).decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise click.ClickException("the value is not UTF-8 text; --file takes any bytes") from None
    except OSError as error:
        raise click.ClickException(f"cannot read the value: {error.strerror}") from None
    return value or ""


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _guess_type(file: BinaryIO | None) -> str:
    """The media type that belongs to the file's name."""
    return mimetypes.guess_type(getattr(file, "name", None) or "")[0] or "application/octet-stream"


def print_written(reply: dict[str, Any], form: str | None, how: str) -> None:
    """Print the result of a put or a rollback; `how` ends the sentence. The value is the version."""
    resource, revision = reply["configuration"], reply.get("revision")
    version, name = resource["entityVersion"], printable(resource["name"])
    words = f"{name} is at version {version} (revision {revision}){how}"
    if reply.get("dryRun"):
        words = f"{name} {WOULD} at version {version}{how}{affected(reply)}"
    print_result(resource | {"revision": revision} | affects(reply), form, words, str(version))


def affects(reply: dict[str, Any]) -> dict[str, Any]:
    """What a dry run in layers says of devices, as a member of its result; empty for any other reply."""
    return {"affects": reply["affects"]} if "affects" in reply else {}


def affected(reply: dict[str, Any]) -> str:
    """The same as the end of a sentence."""
    if (counts := reply.get("affects")) is None:
        return ""
    devices, online, hidden = (f"{counts[name]:,}" for name in ("devices", "online", "hidden"))
    return f"; devices that have the layer: {devices} ({online} online, {hidden} see nothing of it)"


def print_scheduled(reply: dict[str, Any], form: str | None) -> None:
    """Print the result of a transaction that is written later. The value is the number of the schedule."""
    number, revision = reply["schedule"], reply.get("revision")
    words = f"it {WOULD} scheduled" if reply.get("dryRun") else f"scheduled as {number}"
    print_result({"schedule": number, "revision": revision}, form, words, str(number))


def write(remote: Remote, action: str, **members: Any) -> dict[str, Any]:
    """The reply to a write. Raises RefusedByGateway with the reason."""
    with explain_refusal():
        return remote.request(action, **members)


@contextmanager
def explain_refusal() -> Iterator[None]:
    """Turn a refused write into RefusedByGateway with the reason."""
    try:
        yield
    except RemoteError as error:
        raise RefusedByGateway("\n".join(why(error)), error.code) from None


def why(error: RemoteError) -> list[str]:
    """Lines that say why a write was refused. A conflict shows the current version; a refused value is not shown."""
    if error.code == 409:
        current = _current(error.reply["change"]) if "change" in error.reply else []
        return [on_one_line(str(error)), *current]
    return [on_one_line(str(error))]


def _current(change: dict[str, Any] | None) -> list[str]:
    if change is None:
        return ["  it has never existed"]
    resource = change["configuration"]
    who = printable(change["modifiedBy"] or "the gateway")
    when = (
        f"by {who} at {local(change['modified'])}, version {resource['entityVersion']}, revision {change['revision']}"
    )
    why = [f"  reason: {printable(change['description'])}"] if change["description"] else []
    if change["operation"] == "delete":
        return [f"  deleted {when}", *why]
    return [f"  now: {shorten(shown(resource), 500)}", f"  put {when}", *why]


def pages(
    remote: Remote,
    names: Sequence[str],
    after: str | None = None,
    take: int | None = None,
    layer: str | None = None,
    **members: Any,
) -> Iterator[dict[str, Any]]:
    """Everything that matches, as one reply for each page. Pages get smaller where values are large. Further members
    are of the first request: what a connection has seen, it sees in every later answer."""
    left, size = take, PAGE
    while left is None or left > 0:
        asked = size if left is None else min(size, left)
        try:
            members |= {"names": list(names) or None, "after": after, "take": asked, "layer": layer}
            reply = remote.request("configuration/list", **members)
        except RemoteError as error:
            if error.code != 413 or asked == 1:
                raise
            size = asked // 2
            continue
        members = {}
        yield reply
        page = reply["configurations"]
        if len(page) < asked:
            return
        last = page[-1]
        after = f"{last['layer']}/{last['name']}" if layer == EVERY_LAYER else last["name"]
        left = None if left is None else left - len(page)
        size = min(PAGE, size * 2)


def shown(resource: dict[str, Any]) -> str:
    """The value, or in parentheses its type and size when it is not text, or that it is secret."""
    value = resource["value"]
    if resource.get("secret"):
        return "(secret)"
    return str(value) if value is not None else f"({resource['contentType']}, {resource['size']} bytes)"


COLUMNS: Columns = {
    "name": Text(lambda row: row["name"]),
    "version": lambda row: str(row["entityVersion"]),
    "value": Text(shown),
}

LAYERED: Columns = {"layer": Text(lambda row: row["layer"]), **COLUMNS}
