"""Compares what was observed of a soak with the ledger's history."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec
from websockets.asyncio.client import ClientConnection

from bench import linearizability
from bench.soak.load import NAMES, Answer, Soak, Write, say
from bench.watching import KINDS, Checker, History, ObservedChange, Update, Violation, brief, change_of

PAGE = 100
"""Changes of a history in one answer, so that it is under 1 MiB even if all of them are large."""

State: TypeAlias = dict[str, tuple[int, str | None]]
"""The version and value of each name."""


class HistoryRow(NamedTuple):
    """A change in the ledger's history, with the id of its write and its index in that write."""

    change: ObservedChange
    write: str
    place: int


async def check(soak: Soak, forgets: bool = False) -> History:
    """Compare everything with the ledger, on all gateways, and note what differs. Returns the ledger's history.

    `forgets`: the ledger does not keep everything.
    """
    states: list[State] = []
    for target in soak.targets:
        async with soak.connect(target) as connection:
            states.append(await listed(connection, **({"atLeast": soak.final} if soak.shared else {})))
            if target is soak.targets[-1]:
                say("asking the ledger for its history ...")
                ledger = [each async for each in histories(connection)]
    found = HistoryCheck(soak, ledger, forgets)
    soak.violations += found.violations
    history = History(found.changes())
    soak.equal = sum(state == states[0] for state in states)
    for number, state in enumerate(states[1:], 2):
        if state != states[0]:
            odd = sorted(state.items() ^ states[0].items())[:4]
            soak.violations.append(Violation("inconsistent", f"gateways 1 and {number} have other states: {odd}"))
    _check_watches(soak, history, states[0])
    for target in soak.targets:
        soak.violations += [
            Violation("inconsistent", f"a gateway's log says {line}") for line in target.unexpected_lines()
        ]
    say("looking for an order of what was recorded ...")
    try:
        linearizability.check(soak.history.events)
    except linearizability.NotLinearizable as error:
        soak.violations.append(Violation("not linearizable", str(error)))
    return history


def _check_watches(soak: Soak, history: History, state: State) -> None:
    assert soak.final is not None
    for watch in soak.watches:
        checker = Checker(watch, history, compare_every=1_000)
        try:
            seen = checker.check()
            checker.finish(soak.final)
            found = {name: (change.version, change.value) for name, change in seen.items()}
            wanted = {name: each for name, each in state.items() if watch.serves(name)}
            if found != wanted:
                odd = sorted(found.items() ^ wanted.items())[:4]
                raise Violation("inconsistent", f"{watch.label} has another state than configuration/list: {odd}")
        except Violation as violation:
            soak.violations.append(violation)


class HistoryCheck:
    """Compares the ledger's history with the requests and answers of the writers.

    With a short history or log, older changes are taken from answers and pushes.
    """

    def __init__(self, soak: Soak, ledger: list[HistoryRow], forgets: bool) -> None:
        self.violations: list[Violation] = []
        self._soak = soak
        self._forgets = forgets
        self._changes: dict[tuple[int, str], ObservedChange] = {}
        self._first: dict[str, int] = {}
        self._writes: dict[str, dict[int, ObservedChange]] = {}
        self._origin: dict[int, str] = {}
        for row in sorted(ledger, key=lambda row: (row.change.revision, row.place)):
            self._take(row)
        for write in soak.writes.values():
            self._check(write, self._writes.get(write.id, {}))
        self._check_order()

    def changes(self) -> list[ObservedChange]:
        """All known changes, in the ledger's order."""
        if self._forgets:
            pushed = (
                event.change for watch in self._soak.watches for event in watch.events if isinstance(event, Update)
            )
            for change in pushed:
                self._changes.setdefault((change.revision, change.name), change)
                if change.value is not None:
                    self._origin[change.revision] = change.value.partition("/")[0]
        return sorted(self._changes.values(), key=self._order)

    def _order(self, change: ObservedChange) -> tuple[int, int]:
        """By revision, and in a transaction as in its request. The order of deletes of unknown writes is arbitrary."""
        write = self._soak.writes.get(self._origin.get(change.revision, ""))
        names = [name for name, _ in write.changes] if write is not None else []
        return change.revision, names.index(change.name) if change.name in names else 0

    def _fail(self, kind: str, evidence: str) -> None:
        self.violations.append(Violation(kind, evidence))

    def _take(self, row: HistoryRow) -> None:
        change, id, index = row
        self._changes[change.revision, change.name] = change
        self._origin[change.revision] = id
        self._first[change.name] = min(change.revision, self._first.get(change.name, change.revision))
        write = self._soak.writes.get(id)
        if write is None or write.id in self._soak.refused:
            self._fail("inconsistent", f"the history has {row}, whose write is unknown or was refused")
            return
        if write.changes[index] != (change.name, change.value):
            self._fail("inconsistent", f"the history has {row}, requested was {write.changes[index]}")
        if index in self._writes.setdefault(id, {}):
            self._fail("duplicated", f"the history has {row}, and the same as {self._writes[id]}")
        self._writes[id][index] = change

    def _check(self, write: Write, found: dict[int, ObservedChange]) -> None:
        """Check a write: committed whole and as answered, or not committed and never answered with success."""
        reply = self._soak.answers.get(write.id)
        revisions = {change.revision for change in found.values()}
        if reply is not None:
            revisions.add(reply.revision)
            self._origin[reply.revision] = write.id
        if not revisions:
            return
        if len(revisions) > 1:
            self._fail("inconsistent", f"{write.id} was answered with {reply}, the history has {found}")
        revision = max(revisions)
        missing = [name for index, (name, _) in enumerate(write.changes) if index not in found]
        if self._forgets:
            missing = [name for name in missing if revision >= self._first.get(name, 0)]
        if missing:
            kind = "torn transactions" if found else "lost"
            self._fail(kind, f"{missing} of write {write.id} are not in the history, answered was {reply}")
        if reply is not None:
            self._compare(found, reply)

    def _compare(self, found: dict[int, ObservedChange], answer: Answer) -> None:
        for index, answered in enumerate(answer.changes):
            if found.get(index, answered) != answered:
                self._fail("inconsistent", f"answered was {answered}, the history has {found[index]}")
            self._changes.setdefault((answered.revision, answered.name), answered)

    def _check_order(self) -> None:
        """Check that the writes of each session were committed in the order of its requests."""
        last: dict[tuple[int, int], int] = {}
        for id, write in self._soak.writes.items():
            revision = max((change.revision for change in self._writes.get(id, {}).values()), default=None)
            session = write.writer, write.session
            if revision is not None and revision <= last.get(session, 0):
                self._fail("out of order", f"write {id} has revision {revision}, one before it has {last[session]}")
            last[session] = revision or last.get(session, 0)


async def _ask(connection: ClientConnection, action: str, **members: Any) -> dict[str, Any]:
    await connection.send(msgspec.json.encode({"action": action, "requestId": 1, **members}), text=True)
    reply: dict[str, Any] = msgspec.json.decode(await connection.recv())
    return reply


async def histories(connection: ClientConnection) -> AsyncIterator[HistoryRow]:
    """Every change in the history of every name."""
    for name in NAMES:
        before: dict[str, int] = {}
        while True:
            found = await _ask(connection, "configuration/history", name=name, take=PAGE, **before)
            changes = found.get("changes", [])  # 404 for a name that never existed
            for members in changes:
                id, _, index = (members["description"] or "?/0").partition("/")
                yield HistoryRow(change_of(members), id, int(index))
            if len(changes) < PAGE:
                break
            before = {"before": changes[-1]["revision"]}


async def listed(connection: ClientConnection, **more: Any) -> State:
    """The current state."""
    found: State = {}
    after: dict[str, Any] = more
    while page := (await _ask(connection, "configuration/list", take=PAGE, **after))["configurations"]:
        found |= {each["name"]: (each["entityVersion"], brief(each["value"])) for each in page}
        after = more | {"after": page[-1]["name"]}
    return found


def report(soak: Soak, figures: Mapping[str, int]) -> bool:
    """Print the figures, these ones among them, and the first evidence of each kind. True when all guarantees held."""
    seen: Counter[str] = Counter()
    for watch in soak.watches:
        seen += watch.seen
    shown = {
        "writes answered": len(soak.answers),
        "writes refused, as asked for": len(soak.refused),
        "writes whose answer was lost": len(soak.writes) - len(soak.answers) - len(soak.refused),
        "calls recorded": sum(isinstance(event, linearizability.Call) for event in soak.history.events),
        "changes pushed": soak.pushed(),
        **figures,
        "resumed by position": seen["resumed"],
        "cut inside a group": seen["cut inside a group"],
        "conflated runs": seen["conflated runs"],
        "resets": seen["reset"] + seen["resets on the way"],
        **{kind: sum(violation.kind == kind for violation in soak.violations) for kind in KINDS},
    }
    for name, figure in shown.items():
        print(f"{name:<38}{figure:>12,}")
    for kind in KINDS:
        first = next((violation for violation in soak.violations if violation.kind == kind), None)
        if first is not None:
            print(f"\nThe first evidence of {str(first)[:3_000]}")
    return not soak.violations
