"""A linearizability checker: do concurrent clients get the answers of a store that executes one request at a time?

A history is the sequence of calls, returns and crashes of the store. It is linearizable (Herlihy and Wing, 1990) if
each request has a linearization point between its call and its return, so that a sequential store that executes the
requests in the order of these points gives the same answers. The object is the whole store, not a single name. So
transactions and lists are single requests, and a history that passes is linearizable for each name and strictly
serializable.

The method is just-in-time linearization (Lowe, "Testing for linearizability", 2017): the checker follows all possible
states of the store through the history, and lets each request take effect as late as possible. No sockets here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Versioned(NamedTuple):
    """The value of a name, with its version."""

    value: str
    version: int


class Write(NamedTuple):
    """A put, or a delete with the value None. `expected` is the version that the writer expects (0: none)."""

    name: str
    value: str | None
    expected: int | None = None


class Request(NamedTuple):
    """Either names that are read together, or writes of one transaction."""

    reads: tuple[str, ...] = ()
    writes: tuple[Write, ...] = ()


class Read(NamedTuple):
    """The values of the requested names, in that order; None for a name that does not exist."""

    entries: tuple[Versioned | None, ...]


class Written(NamedTuple):
    """The versions after the writes, in their order; None for a delete."""

    versions: tuple[int | None, ...]


class Refused(NamedTuple):
    """Nothing was written: the place of the first impossible write, and the current value of its name."""

    place: int
    current: Versioned | None


class NotDone(NamedTuple):
    """The store did nothing, for a reason that does not depend on its state (503)."""


Answer = Read | Written | Refused | NotDone


class Call(NamedTuple):
    """A client is about to send a request. Ids of calls are unique."""

    id: int
    request: Request


class Return(NamedTuple):
    """A client got the answer to the call with this id. A call need not have a return."""

    id: int
    answer: Answer


class Crash(NamedTuple):
    """The store, or a part of it, has ended: earlier calls have taken effect by now, or never will.

    With `calls` only these ones, which have no answer.
    """

    calls: frozenset[int] | None = None


Event = Call | Return | Crash
State = frozenset[tuple[str, Versioned]]
"""The existing names with their values."""

NOTHING: State = frozenset()


class Possibility(NamedTuple):
    """A possible configuration of the store: its state, and the open calls that have taken effect."""

    state: State
    done: frozenset[int]


class NotLinearizable(AssertionError):
    """No order of the requests explains an answer; the text names the answer and the possible states."""


def carry_out(request: Request, state: State) -> tuple[Answer, State]:
    """The answer of a sequential store in this state, and its state afterwards."""
    entries = dict(state)
    if request.reads:
        return Read(tuple(entries.get(name) for name in request.reads)), state
    versions: list[int | None] = []
    for index, (name, value, expected) in enumerate(request.writes):
        entry = entries.get(name)
        version = entry.version if entry is not None else 0
        if expected not in (None, version) or (entry is None and value is None):
            return Refused(index, entry), state
        if value is None:
            del entries[name]
            versions.append(None)
        else:
            entries[name] = Versioned(value, version + 1)
            versions.append(version + 1)
    return Written(tuple(versions)), frozenset(entries.items())


def check(history: Sequence[Event], state: State = NOTHING) -> None:
    """Return if the history of a store with this initial state is linearizable. Raises NotLinearizable."""
    answers = {event.id: event.answer for event in history if isinstance(event, Return)}
    under_way: dict[int, Request] = {}
    possibilities = {Possibility(state, frozenset())}
    for place, event in enumerate(history):
        if isinstance(event, Call):
            if not isinstance(answers.get(event.id), NotDone):
                under_way[event.id] = event.request
        elif isinstance(event, Crash):
            possibilities = _spread(possibilities, under_way, answers)
            unanswered = under_way.keys() - answers.keys()
            over = unanswered if event.calls is None else unanswered & event.calls
            possibilities = {Possibility(state, done - over) for state, done in possibilities}
            under_way = {} if event.calls is None else {id: under_way[id] for id in under_way.keys() - over}
        elif not isinstance(event.answer, NotDone):
            reached = _spread(possibilities, _together(event.id, under_way), answers, event.id)
            found = {Possibility(state, done - {event.id}) for state, done in reached if event.id in done}
            if not found:
                raise NotLinearizable(_evidence(history, place, possibilities))
            possibilities = found
            under_way.pop(event.id, None)


def _together(id: int, under_way: Mapping[int, Request]) -> dict[int, Request]:
    """A call, and the open calls that have to be tried before it: those that share names with it, transitively.

    Others can take effect afterwards with the same result.
    """
    found: dict[int, Request] = {}
    todo = [id] if id in under_way else []
    while todo:
        found[at] = request = under_way[(at := todo.pop())]
        todo += [other for other in under_way.keys() - found.keys() - set(todo) if _meet(request, under_way[other])]
    return found


def _meet(one: Request, other: Request) -> bool:
    """Whether two requests conflict, so that their order may matter."""
    mine, its = {write.name for write in one.writes}, {write.name for write in other.writes}
    return not (mine.isdisjoint(its) and mine.isdisjoint(other.reads) and its.isdisjoint(one.reads))


def _spread(
    possibilities: Iterable[Possibility],
    calls: Mapping[int, Request],
    answers: Mapping[int, Answer],
    goal: int | None = None,
) -> set[Possibility]:
    """What is reachable by letting some of these calls, or none, take effect with their known answers.

    A possibility in which the goal has taken effect is not expanded: the other open calls can take effect later.
    """
    found = {_settled(possibility, calls, answers) for possibility in possibilities}
    todo = list(found)
    while todo:
        possibility = todo.pop()
        for id, request in calls.items() if goal not in possibility.done else ():
            if id in possibility.done:
                continue
            answer, state = carry_out(request, possibility.state)
            if state != possibility.state and answers.get(id, answer) == answer:
                after = _settled(Possibility(state, possibility.done | {id}), calls, answers)
                if after not in found:
                    found.add(after)
                    todo.append(after)
    return found


def _settled(possibility: Possibility, calls: Mapping[int, Request], answers: Mapping[int, Answer]) -> Possibility:
    """The possibility after all calls that fit and change nothing: it is never better to do these later."""
    fitting = {
        id
        for id, request in calls.items()
        if id not in possibility.done and carry_out(request, possibility.state) == (answers.get(id), possibility.state)
    }
    return Possibility(possibility.state, possibility.done | fitting) if fitting else possibility


def _evidence(history: Sequence[Event], place: int, possibilities: Iterable[Possibility]) -> str:
    """The text about an answer that no order explains."""
    event = history[place]
    assert isinstance(event, Return)
    calls = {each.id: (number, each.request) for number, each in enumerate(history) if isinstance(each, Call)}
    number, request = calls[event.id]
    names = {*request.reads, *(write.name for write in request.writes)}
    states = {tuple(sorted(entry for entry in possibility.state if entry[0] in names)) for possibility in possibilities}
    last = [each for each in history[max(0, number - 10) : place] if isinstance(each, Return)]
    return (
        f"call {event.id} ({request}, event {number}) was answered {event.answer} (event {place}).\n"
        f"Before the calls under way, these names held one of: {sorted(states)[:5]}.\n"
        f"Under way or answered meanwhile: {[(calls[each.id][1], each.answer) for each in last]}"
    )
