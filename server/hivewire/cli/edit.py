"""`hivewire edit`, `diff` and `transact`."""

from __future__ import annotations

import difflib
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from hivewire.cli import contents
from hivewire.cli.configuration import (
    affected,
    affects,
    at_option,
    description_option,
    explain_refusal,
    is_secret,
    name_argument,
    print_scheduled,
    print_written,
    reveal_option,
    shown,
    write,
)
from hivewire.cli.errors import BadInput, RefusedByGateway, RemoteError, Unreachable
from hivewire.cli.export_format import content_of, label, read_json
from hivewire.cli.gateway import dry_run_option, reach, token_option, url_option, with_gateway
from hivewire.cli.help import WholeNumber
from hivewire.cli.output import in_words, output_option, print_result, printable, warn
from hivewire_protocol.nouns.configuration import TEXT, is_json

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote


@click.command(
    epilog="""\b
Examples:
  hivewire edit limits
  VISUAL='code --wait' hivewire edit limits --description "for the sale\""""
)
@name_argument
@description_option
@reveal_option
@output_option
@url_option
@token_option
def edit(
    url: str | None, given_token: str | None, name: str, description: str | None, reveal: bool, form: str | None
) -> None:
    """Open the configuration NAME in $VISUAL or $EDITOR, and put the saved text. NAME does not have to exist.

    If somebody else changed it meanwhile, nothing is overwritten, and your text is kept in a file.
    """
    with reach(url, given_token) as remote:
        resource = _current(remote, name, reveal)
        before = _text(remote, name, resource, reveal) if resource is not None else ""
    content_type = resource.get("contentType") if resource is not None else None
    suffix = ".json" if content_type is not None and is_json(content_type) else ".txt"
    descriptor, file = tempfile.mkstemp(prefix="hivewire-", suffix=suffix)  # only for its owner to read
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(before.encode())
    place = Path(file)
    _open_editor(place, before)
    after = _read_edited(before, place)
    if after == before:
        place.unlink()
        row = {"name": name} if resource is None else resource
        print_result(row, form, f"{printable(name)} is not changed", str(resource["entityVersion"] if resource else 0))
        return
    # The version alone could be that of another life of the name, which somebody made meanwhile.
    expected = (
        {member: resource[member] for member in ("entityVersion", "revision")} if resource else {"entityVersion": 0}
    )
    # An editor may be open for hours, in which a gateway restarts and a laptop sleeps: so this is another connection.
    with _keeping(place), explain_refusal(), reach(url, given_token) as remote:
        members = {"description": description, "contentType": content_type, **expected}
        reply = remote.request("configuration/put", name=name, value=after, **members)
    place.unlink()
    print_written(reply, form, "")


@contextmanager
def _keeping(file: Path) -> Iterator[None]:
    """Say in each error that the edited text is in this file."""
    kept = f"\n  your text is in {file}"
    try:
        yield
    except RefusedByGateway as error:
        raise RefusedByGateway(f"{error.format_message()}{kept}", error.code) from None
    except click.ClickException as error:
        raise click.ClickException(f"{error.format_message()}{kept}") from None
    except Unreachable as error:
        raise Unreachable(f"{error}{kept}") from None
    except KeyboardInterrupt:
        warn(f"interrupted: it may have been written{kept}")
        raise


@click.command(
    epilog="""\b
Examples:
  hivewire diff limits                  (what the last change did)
  hivewire diff limits 3                (from version 3 to now)
  hivewire diff limits 3 5
  hivewire diff limits --file limits.json"""
)
@name_argument
@click.argument("versions", nargs=-1, type=WholeNumber(min=1), metavar="[VERSION [VERSION]]")
@click.option("--file", type=click.File("rb"), help="Compare the current content with this file instead.")
@reveal_option
@output_option
@with_gateway
def diff(
    remote: Remote, name: str, versions: tuple[int, ...], file: BinaryIO | None, reveal: bool, form: str | None
) -> None:
    """Show how two versions of the configuration NAME differ, line by line. JSON is formatted first.

    The exit code is 0 whether they differ or not; without a difference a line on standard error says so.
    """
    if len(versions) > 2 or (versions and file is not None):
        raise click.UsageError("give at most two versions, or --file")
    now = _got(remote, name, reveal)
    first = versions[0] if versions else max(1, now["entityVersion"] - (file is None))
    second = versions[1] if len(versions) == 2 else now["entityVersion"]
    numbers = (first, second) if file is None else (second,) * 2
    before, after = (_lines(remote, name, number, now, reveal) for number in numbers)
    other = f"version {second}"
    if file is not None:
        first, other = second, label(file)
        after = _format(content_of(file).decode(errors="replace"), now).splitlines()
    found = [*difflib.unified_diff(before, after, f"version {first}", other, lineterm="")]
    row = {"name": name, "from": f"version {first}", "to": other, "lines": found}
    if found or not in_words(form):
        print_result(row, form, "\n".join(map(_colour, found)), "\n".join(found))
    else:
        click.echo(f"hivewire: no difference between version {first} and {other}", err=True)


@click.command(
    epilog="""\b
Examples:
  hivewire transact changes.json
  jq -n '{changes: [{operation: "put", name: "a", value: "1"}]}' | hivewire transact -

\b
FILE is JSON, in the form of a configuration/transact request:
  {"changes":[
    {"operation":"put","name":"limits.max","value":"43","entityVersion":7},
    {"operation":"delete","name":"limits.old"}]}"""
)
@click.argument("file", type=click.File("rb"))
@at_option
@dry_run_option
@output_option
@url_option
@token_option
def transact(
    file: BinaryIO, at: str | None, dry_run: bool, form: str | None, url: str | None, given_token: str | None
) -> None:
    """Write all changes in FILE as one transaction; - is standard input."""
    given = read_json(content_of(file), label(file))
    members = given if isinstance(given, dict) else {"changes": given}
    if not isinstance(members.get("changes"), list) or len(members) != 1:
        raise BadInput(f'{label(file)} is not a list of changes, nor an object with only a list "changes"')
    with reach(url, given_token) as remote:
        reply = write(remote, "configuration/transact", **members, at=at, dryRun=dry_run or None)
    if at is not None:
        print_scheduled(reply, form)
        return
    revision, count = reply.get("revision"), len(members["changes"])
    row = {"configurations": reply.get("configurations"), "revision": revision, **affects(reply)}
    words = "1 change is" if count == 1 else f"{count:,} changes are"
    done = f"possible; nothing is written{affected(reply)}" if dry_run else f"written (revision {revision})"
    print_result(row, form, f"{words} {done}", str(revision or ""))


def _colour(line: str) -> str:
    return click.style(printable(line), fg={"+": "green", "-": "red", "@": "cyan"}.get(line[:1]))


def _current(remote: Remote, name: str, reveal: bool) -> dict[str, Any] | None:
    try:
        return _got(remote, name, reveal)
    except RemoteError as error:
        if error.code != 404:
            raise
        return None


def _got(remote: Remote, name: str, reveal: bool, number: int | None = None) -> dict[str, Any]:
    """The configuration, or this version of it."""
    reply = remote.request("configuration/get", name=name, entityVersion=number, reveal=reveal or None)
    resource: dict[str, Any] = reply["configuration"]
    return resource | {"revision": reply["revision"]}


def _text(remote: Remote, name: str, resource: dict[str, Any], reveal: bool) -> str:
    """The content, also of a text that is too long for a message. Raises ClickException when it is not text, or secret
    and not to `reveal`."""
    if resource["value"] is not None:
        return str(resource["value"])
    if resource.get("secret"):
        raise is_secret(name)
    try:
        return contents.get(remote.url, remote.token, name, resource["revision"], reveal=reveal).decode()
    except UnicodeDecodeError:
        raise click.ClickException(f"{printable(name)} is not text: it is {shown(resource)[1:-1]}") from None


def _lines(remote: Remote, name: str, number: int, now: dict[str, Any], reveal: bool) -> list[str]:
    """The lines of this version; `now` is the current one."""
    resource = now if number == now["entityVersion"] else _got(remote, name, reveal, number)
    return _format(_text(remote, name, resource, reveal), resource).splitlines()


def _format(text: str, resource: dict[str, Any]) -> str:
    """JSON with a line for each member; other text unchanged."""
    if not is_json(resource.get("contentType", TEXT)):
        return text
    try:
        return msgspec.json.format(text)
    except msgspec.DecodeError:
        return text


def _open_editor(file: Path, before: str) -> None:
    """Wait for the user's editor. Raises ClickException when it cannot be started, or fails; changed text is kept.

    Ctrl-C is for the editor alone, although the terminal sends it to both.
    """
    handler = signal.signal(signal.SIGINT, lambda *_: None)  # to ignore it would be inherited by the editor
    try:
        click.edit(filename=str(file))
    except (click.ClickException, ValueError) as error:
        if isinstance(error.__cause__, OSError):
            editor, reason = printable(str(error.__cause__.filename)), error.__cause__.strerror
            why = f"cannot start the editor {editor}: {reason}; set $VISUAL or $EDITOR to one that is installed"
        elif isinstance(error, ValueError):  # a quotation mark without its second one
            why = f"$VISUAL or $EDITOR is not a command: {error}"
        else:
            why = "the editor failed, so nothing is written"
        if file.read_bytes() != before.encode():
            raise click.ClickException(f"{why}\n  your text is in {file}") from None
        file.unlink()
        raise click.ClickException(why) from None
    finally:
        signal.signal(signal.SIGINT, handler)


def _read_edited(before: str, file: Path) -> str:
    """The saved text. Editors end a file with a newline; if the value had none before, it is removed again."""
    try:
        after = file.read_bytes().decode()
    except UnicodeDecodeError:
        raise click.ClickException(f"{file} is not UTF-8 text any more; nothing is written") from None
    return after if before.endswith("\n") else after.removesuffix("\n")
