"""`hivewire import`: writes the configurations of an export, or of a file of another program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple, TypeVar

import click
import msgspec

from hivewire.cli.configuration import description_option, pages, shown, why
from hivewire.cli.errors import RefusedByGateway, RemoteError, Unreachable
from hivewire.cli.export_format import ImportEntry, checked, content_of, label, parse
from hivewire.cli.gateway import reach, token_option, url_option
from hivewire.cli.import_formats import FORMATS, etcd_at, read
from hivewire.cli.output import in_words, output_option, print_row, printable, shorten, warn
from hivewire.cli.progress import Report, progress
from hivewire.cli.remote import Remote
from hivewire.settings import Settings
from hivewire_protocol.nouns.configuration import MAX_TRANSACTION, TEXT, is_json, json_problem
from hivewire_protocol.patterns import MAX_LENGTH, MAX_PATTERNS

MESSAGE_BYTES = 1 << 19
"""Most bytes of JSON in one request: half of the default `message_bytes`. Its answer is not larger."""

SHOWN = 60
"""Characters of a value that a dry run shows."""

_T = TypeVar("_T")


class _FileOrAddress(click.File):
    """A file that is opened, or the address of an etcd as it stands."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        is_address = isinstance(value, str) and value.startswith(("http://", "https://"))
        return value if is_address else super().convert(value, param, ctx)


@click.command(
    "import",
    epilog="""\b
Examples:
  hivewire import all.json --dry-run
  hivewire import all.json --description "from the repository"
  jq . all.json | hivewire import -
  hivewire import .env --from dotenv --dry-run
  hivewire import settings.yaml --from yaml --map database.=db.
  hivewire import http://127.0.0.1:2379 --from etcd --map /app/=
  etcdctl get --prefix /app/ -w json | hivewire import - --from etcd
  consul kv export app/ | hivewire import - --from consul --map app/=
  env -0 | hivewire import - --from env --map APP_=app.

\b
The file is an export, or written by hand:
  {"hivewire":1,"configurations":[{"name":"limits.max","value":"42"}]}
Give a "contentType" for a value that is not plain text.

\b
Changes are written in transactions of at most 1,000 changes and 512 KiB. Each
transaction is atomic. A larger import that fails may be written in part, and
says how much. It is safe to repeat an import.""",
)
@click.argument("file", type=_FileOrAddress("rb"))
@click.option("--from", "source", type=click.Choice([*FORMATS]), help="What FILE is, if it is no export.")
@click.option(
    "--map",
    "renamed",
    multiple=True,
    metavar="OLD=NEW",
    help="With --from: only names that begin with OLD, which becomes NEW; repeatable, the first that fits counts.",
)
@click.option("--skip-binary", is_flag=True, help="With --from: leave out values that are empty or not text.")
@click.option("--dry-run", is_flag=True, help="Show what would be created and updated, or why not, and write nothing.")
@click.option("--no-check", is_flag=True, help="Store values of a JSON type even if they are not JSON.")
@description_option
@output_option
@url_option
@token_option
def import_(
    url: str | None,
    given_token: str | None,
    file: BinaryIO | str,
    source: str | None,
    renamed: tuple[str, ...],
    skip_binary: bool,
    dry_run: bool,
    no_check: bool,
    description: str | None,
    form: str | None,
) -> None:
    """Create and update the configurations in FILE; - is standard input. Nothing is deleted.

    The whole file is checked before anything is written. Configurations that are equal already are not written. If
    somebody changes one of the configurations during the import, it stops and shows the change.
    """
    if any("\ud800" <= character <= "\udfff" for character in description or ""):
        raise click.UsageError("the description is not UTF-8 text")
    if source is not None:
        entries = _of_others(file, source, renamed, skip_binary)
    elif renamed or skip_binary or isinstance(file, str):
        raise click.UsageError("--map, --skip-binary and an address need --from")
    else:
        entries = parse(content_of(file), label(file))
    with reach(url, given_token) as remote:
        with progress("comparing") as report:
            changes = _differences(entries, _there(remote, entries, report))
        with progress("judging" if dry_run else "writing") as report:
            common = {"description": description, "check": False if no_check else None}
            secret = _write(remote, changes, common, report, dry_run)
    for change in changes if dry_run and in_words(form) else ():
        click.echo(_describe(change, secret=change.entry.name in secret).encode())
    created = [change.entry.name for change in changes if change.seen is None]
    updated = [change.entry.name for change in changes if change.seen is not None]
    unchanged = len(entries) - len(changes)
    if in_words(form):
        would = "would be " if dry_run else ""
        click.echo(f"{would}{len(created):,} created, {len(updated):,} updated, {unchanged:,} unchanged", err=True)
    else:
        row = {"created": created, "updated": updated, "unchanged": unchanged, "dryRun": dry_run}
        print_row(row, form, "\n".join((*created, *updated)))


class Difference(NamedTuple):
    """An entry of the file that differs from the gateway. `seen` is the resource there; None when there is none."""

    entry: ImportEntry
    seen: dict[str, Any] | None


def _of_others(file: BinaryIO | str, source: str, renamed: tuple[str, ...], skip_binary: bool) -> list[ImportEntry]:
    """The entries in a file of another program. Raises ClickException."""
    if isinstance(file, str) and source != "etcd":
        raise click.UsageError("only etcd is read from its address")
    if any("=" not in each for each in renamed):
        raise click.UsageError("--map wants OLD=NEW")
    called = file if isinstance(file, str) else label(file)
    data = etcd_at(file) if isinstance(file, str) else content_of(file)
    entries = read(source, data, called, {old: new for old, _, new in (each.partition("=") for each in renamed)})
    if skip_binary and (omitted := [entry["name"] for entry in entries if not entry.get("value")]):
        warn(f"left out, because they are empty or not text: {', '.join(shorten(name, 80) for name in omitted)}")
        entries = [entry for entry in entries if entry.get("value")]
    return checked(entries, called, "entries")


def _there(remote: Remote, entries: list[ImportEntry], report: Report) -> dict[str, dict[str, Any]]:
    """The resources of the entries that exist on the gateway and are visible to the caller, by name."""
    found: dict[str, dict[str, Any]] = {}
    done = 0
    for batch in _batches([entry.name for entry in entries], MAX_PATTERNS):
        patterns = [name for name in batch if _is_pattern(name)]
        for reply in pages(remote, patterns) if patterns else ():  # without patterns a list has everything
            found.update((resource["name"], resource) for resource in reply["configurations"])
        for name in batch:
            if not _is_pattern(name) and (resource := _one(remote, name)) is not None:
                found[name] = resource
        done += len(batch)
        report(done, len(entries))
    return found


def _is_pattern(name: str) -> bool:
    """Whether the name can be used as a pattern that matches only itself."""
    return "*" not in name and len(name) <= MAX_LENGTH


def _one(remote: Remote, name: str) -> dict[str, Any] | None:
    try:
        resource = remote.request("configuration/get", name=name)["configuration"]
        assert isinstance(resource, dict)  # noqa: S101 - what a gateway answers
        return resource
    except RemoteError as error:
        if error.code not in (403, 404):  # as in a list, invisible is absent; the write will be refused
            raise
        return None


def _differences(entries: list[ImportEntry], there: dict[str, dict[str, Any]]) -> list[Difference]:
    """The changes to write, in the order of writing."""
    changes = []
    for entry in entries:
        seen = there.get(entry.name)
        if seen is None or (entry.value, entry.content_type) != (seen["value"], seen.get("contentType", TEXT)):
            changes.append(Difference(entry, seen))
    # Changes that the gateway may refuse go first: nothing is written yet then.
    usual = Settings()
    changes.sort(key=lambda change: _is_usual(change.entry, usual))
    return changes


def _is_usual(entry: ImportEntry, usual: Settings) -> bool:
    """Whether every gateway takes an entry: within the default limits, and JSON if its type says so."""
    return (
        len(entry.name) <= usual.name_length
        and len(entry.value) <= usual.value_length
        and (not is_json(entry.content_type) or json_problem(entry.value.encode()) is None)
    )


def _describe(change: Difference, *, secret: bool) -> str:
    """A line of a dry run. Its output is kept where many can read it, so it shows no secret value."""
    name, (_, new, new_type) = shorten(change.entry.name, 80), change.entry
    if secret:
        return f"{'create' if change.seen is None else 'update'} {name}: (secret)"
    if change.seen is None:
        return f"create {name}: {_excerpt(new)}" + (f" ({new_type})" if new_type != TEXT else "")
    old, old_type = shown(change.seen), change.seen.get("contentType", TEXT)
    types = f" ({printable(old_type)} -> {new_type})" if new_type != old_type else ""
    if old == new:
        return f"update {name}: {_excerpt(new)}{types}"
    start = _first_difference(old, new) - SHOWN // 3 if max(len(old), len(new)) > SHOWN else 0
    return f"update {name}: {_excerpt(old, start)} -> {_excerpt(new, start)}{types}"


def _first_difference(one: str, other: str) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _excerpt(text: str, start: int = 0) -> str:
    return ("..." if start > 0 else "") + shorten(text[max(0, start) :], SHOWN)


def _write(
    remote: Remote, changes: list[Difference], common: dict[str, Any], report: Report, dry_run: bool
) -> set[str]:
    """Write the changes, or try to; each expects the version that was seen. An error says how many were written.

    Returns the names whose values are secret.
    """
    done, total, secret = 0, len(changes), set[str]()
    for batch in _batches((_wire(change, common) for change in changes), MAX_TRANSACTION):
        so_far = f"{done:,} of {total:,} changes are written"
        unknown = f"{so_far}, and the next {len(batch):,} perhaps: import again to finish"
        left = f"{so_far}, {total - done:,} are not"
        if dry_run:
            unknown = left = "nothing is written"
        try:
            reply = remote.request("configuration/transact", changes=batch, dryRun=dry_run or None)
        except RemoteError as error:
            lines = [*_refusal(error, batch), f"  {left}"]
            raise RefusedByGateway("\n".join(lines), error.code) from None
        except Unreachable as error:
            raise Unreachable(f"{error}\n  {unknown}") from None
        except KeyboardInterrupt:
            warn(f"interrupted: {unknown}")
            raise
        secret.update(each["name"] for each in reply["configurations"] if each.get("secret"))
        done += len(batch)
        report(done, total)
    return secret


def _wire(change: Difference, common: dict[str, Any]) -> dict[str, Any]:
    """The change as `configuration/transact` takes it. `common` are members of all changes; None leaves one out."""
    name, value, content_type = change.entry
    version = change.seen["entityVersion"] if change.seen is not None else 0
    wire = {"operation": "put", "name": name, "value": value, "entityVersion": version}
    if content_type != TEXT:
        wire["contentType"] = content_type
    return wire | {member: given for member, given in common.items() if given is not None}


def _refusal(error: RemoteError, batch: list[dict[str, Any]]) -> list[str]:
    """The lines of an error: which change of a transaction was refused, and why."""
    lines, index = why(error), error.reply.get("index")
    if not isinstance(index, int) or not 0 <= index < len(batch):
        return lines
    reason = lines[0].removeprefix(f"changes[{index}]: ")
    return [f"'{shorten(batch[index]['name'], 80)}' is refused: {reason}", *lines[1:]]


def _batches(items: Iterable[_T], most: int) -> Iterator[list[_T]]:
    """The items in lists of at most `most` items and MESSAGE_BYTES of JSON. A larger item is alone in its list."""
    batch: list[_T] = []
    size = 0
    for item in items:
        length = len(msgspec.json.encode(item)) + 1
        if batch and (len(batch) == most or size + length > MESSAGE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch
