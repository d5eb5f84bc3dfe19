"""`hivewire export`: configurations as one file, for git and for another gateway."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import click

from hivewire.cli.configuration import pages, patterns_argument, shown
from hivewire.cli.export_format import render
from hivewire.cli.gateway import reach, token_option, url_option
from hivewire.cli.output import form_option, print_bytes, print_result, printable_json, shorten, warn
from hivewire.cli.progress import Report, progress
from hivewire.cli.remote import Remote

ATTEMPTS = 5
"""Most times that an export reads the configurations while they change."""


@click.command(
    epilog="""\b
Examples:
  hivewire export > all.json
  hivewire export 'limits.*' ports --output limits.json
  hivewire export --output all.json --force && git diff all.json
  hivewire export | hivewire import - --url https://other.example.com --token ...

\b
The output is UTF-8 with one line for each configuration, sorted by name, so
git shows changes well. If anything cannot be exported, nothing is written: the
file of --output stays as it was, but a shell has already emptied one after `>`.

\b
The export is a consistent state of one revision. If the configurations keep
changing during several attempts, a warning says so and the file has
"consistent":false: each configuration is correct, but not of one moment."""
)
@patterns_argument
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to this file atomically. A new file has mode 0600.",
)
@click.option("--force", is_flag=True, help="Overwrite the file of --output.")
@form_option("-o")
@click.option(
    "--skip-binary",
    is_flag=True,
    help='Leave out values that are not text, empty or over 65,536 characters, and list them in "omitted".',
)
@url_option
@token_option
def export(
    url: str | None,
    given_token: str | None,
    patterns: tuple[str, ...],
    output: Path | None,
    force: bool,
    skip_binary: bool,
    form: str | None,
) -> None:
    """Write configurations as one JSON file: all that you may see, or those that match a PATTERN.

    A PATTERN is a name, or a prefix*. Values and content types are exported, but not their history; hivewire backup
    copies everything.
    """
    if output is not None:
        _check_target(output, force)
    with reach(url, given_token) as remote, progress("reading") as report:
        state = _read_moment(remote, patterns, report)
    head: dict[str, Any] = {"revision": state.revision}
    if not state.consistent:
        head["consistent"] = False
        warn("the configurations kept changing; each value is correct, but they are not from one revision")
    secrets = [resource for resource in state.resources if resource.get("secret")]
    if secrets:
        warn(f"left out, because they are secret: {', '.join(shorten(each['name'], 80) for each in secrets[:5])}")
    if unreadable := [each for each in state.resources if not each["value"] and not each.get("secret")]:
        _refuse_or_warn(unreadable, skip_binary)
    if omitted := [each["name"] for each in state.resources if not each["value"]]:
        head["omitted"] = omitted
    readable = [resource for resource in state.resources if resource["value"]]
    export = render(readable, **head)
    if output is None:
        if sys.stdout.isatty():
            click.echo(printable_json(export), nl=False)
        else:
            print_bytes(export)
    else:
        _save(export, output, force)
        row = {"path": str(output), "configurations": len(readable), "bytes": len(export), **head}
        print_result(
            row, form, f"{_count(len(readable))} exported to {output} (revision {state.revision})", str(output)
        )


class Exported(NamedTuple):
    """What an export read. `consistent`: it is the state at `revision`."""

    resources: list[dict[str, Any]]
    revision: int
    consistent: bool


def _read_moment(remote: Remote, patterns: tuple[str, ...], report: Report) -> Exported:
    """All resources that match, at one revision.

    Pages can be of different revisions; then everything is read again. Two equal readings, whose count shows that
    nothing is missing, were true between the two. So writes to other names do not make an export fail.
    """
    former: list[dict[str, Any]] = []
    for _ in range(ATTEMPTS):
        found: list[dict[str, Any]] = []
        replies = []
        for reply in pages(remote, patterns):
            found += reply["configurations"]
            replies.append((reply["revision"], reply["count"]))
            report(len(found), reply["count"])
        (first, count), (last, _) = replies[0], replies[-1]
        if first == last or (found == former and count == len(found)):
            return Exported(found, first, True)
        former = found
    return Exported(found, last, False)


def _refuse_or_warn(unreadable: list[dict[str, Any]], skip: bool) -> None:
    """Report resources whose content a list does not carry: raise ClickException, or only warn when `skip` is set."""
    lines = [f"  {shorten(resource['name'], 80)} {shown(resource)}" for resource in unreadable[:5]]
    if len(unreadable) > 5:
        lines.append(f"  and {len(unreadable) - 5:,} more")
    words = f"{_count(len(unreadable))} no text, empty or over 65,536 characters"
    if not skip:
        first = f"nothing is exported, because {words} (--skip-binary leaves them out):"
        raise click.ClickException("\n".join([first, *lines]))
    warn("\n".join([f"left out, because {words}:", *lines]))


def _check_target(target: Path, force: bool) -> None:
    """Raise ClickException before anything is read if `_save` could not write the target."""
    if not target.parent.is_dir():
        raise click.ClickException(f"cannot write {target}: {target.parent}: no such directory")
    if target.exists() and not target.is_file():
        raise click.ClickException(f"{target} is not a regular file")
    if target.exists() and not force:
        raise click.ClickException(f"{target} exists already; --force overwrites it")


def _save(data: bytes, target: Path, force: bool) -> None:
    """Write the file atomically. A new file gets mode 0600, an existing one keeps its mode."""
    place = Path(os.path.realpath(target))  # so that the target of a symbolic link is replaced, not the link
    try:
        descriptor, temporary = tempfile.mkstemp(dir=place.parent, prefix=".export")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
                if force and place.exists():
                    os.fchmod(descriptor, stat.S_IMODE(place.stat().st_mode))
            # Unlike a rename, a link fails when the file was created meanwhile.
            (os.replace if force else os.link)(temporary, place)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except FileExistsError:
        raise click.ClickException(f"{target} exists already; --force overwrites it") from None
    except OSError as error:
        raise click.ClickException(f"cannot write {target}: {error.strerror}") from None


def _count(number: int) -> str:
    return "1 configuration is" if number == 1 else f"{number:,} configurations are"
