"""`hivewire device|network|type|fleet watch`: follow devices and their groups, also when the gateway restarts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from hivewire.cli.following import Followed, Following, Item, run_and_say_where
from hivewire.cli.gateway import Access
from hivewire.cli.grouping import Noun
from hivewire.cli.lines import WIDEST, Part
from hivewire.cli.output import Columns, Text, print_row, printable
from hivewire.cli.remote import Remote
from hivewire.cli.watch import Line, StateLines, Watcher
from hivewire_client.connection import Frame


def watch_fleet(
    access: Access, noun: Noun, wanted: Item, since: str | None, form: str | None, columns: Callable[[Remote], Columns]
) -> None:
    """Print the state of what is wanted and its changes until Ctrl-C. The first of the columns is the id."""
    form = form or ("table" if sys.stdout.isatty() else "json")
    if form != "table":
        run_and_say_where(Watcher(access, noun.action, wanted, since, partial(_print, form, noun)))
    else:
        lines = FleetLines(noun)
        watcher = Watcher(access, noun.action, wanted, since, lines.show)
        lines.columns = columns(watcher)
        run_and_say_where(watcher)


class CountsWatcher(Following):
    """Follows the counts of devices in each state."""

    def __init__(self, access: Access, wanted: Item, show: Callable[[Item], None]) -> None:
        super().__init__(access, show)
        self._subscriptions.append(_Counts(self, "fleet", wanted, None))


class _Counts(Followed):
    """A subscription to counts. Its pushes have no positions: each connection begins with all of it."""

    def since(self, subject: str | None) -> str | None:
        """Always None."""
        return None

    def take(self, frame: Frame) -> None:
        """Show a push."""
        self._following.push(self.items([frame]))


class FleetLines(StateLines):
    """Prints devices, networks or device types, each on a line of `columns`."""

    def __init__(self, noun: Noun) -> None:
        super().__init__()
        self.noun = noun
        self.many = noun.many
        self.columns: Columns = {}

    def show(self, item: Item) -> None:
        """Print a message; a bookmark prints nothing."""
        if item["type"] == "presence":
            is_online: Part = ("online", "green") if item["online"] else ("offline", "yellow")
            self.line((printable(item["deviceId"]), "bold"), "  is ", is_online)
        else:
            super().show(item)

    def measure(self, row: Item) -> None:
        """Every column."""
        self.parts(row)

    def parts(self, row: Item) -> Line:
        """The columns, without those in which nothing was seen yet; those that may be cut come last."""
        number, *others = self._cells(row, cut=False)
        return Line([(number, "bold"), *_set_apart(others)], _set_apart(self._cells(row, cut=True)))

    def _cells(self, row: Item, *, cut: bool) -> list[str]:
        """The cells that may be `cut`, each to a third of the terminal, or those that may not."""
        cells = {heading: cell(row) for heading, cell in self.columns.items() if isinstance(cell, Text) is cut}
        return [self.wide(name, self.cut(cell, WIDEST // 2, 3) if cut else cell) for name, cell in cells.items()]

    def changed(self, change: Item) -> Line:
        """The same, or only the id of what is gone."""
        row = change[self.noun.one]
        if row is not None:
            return self.parts(row)
        return Line([("gone  ", "bold red"), (printable(str(change[f"{self.noun.one}Id"])), "bold")], [])


def _set_apart(cells: list[str]) -> list[Part]:
    return ["  " + cell for cell in cells if cell]


def _print(form: str, noun: Noun, item: Item) -> None:
    """Print a message as it is; of form `value` the ids of what it brings, and nothing for what is gone."""
    if form != "value":
        print_row(item, form, "")
        return
    found = item.get(noun.many, [item[noun.one]] if item.get(noun.one) else [])
    for row in found:
        print_row(row, form, str(row["id"]))
