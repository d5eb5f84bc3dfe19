"""The checker of histories: right ones pass, and each kind of wrong one is refused."""

from __future__ import annotations

from itertools import permutations

import pytest
from bench.linearizability import (
    NOTHING,
    Call,
    Crash,
    Event,
    NotDone,
    NotLinearizable,
    Read,
    Refused,
    Request,
    Return,
    State,
    Versioned,
    Write,
    Written,
    carry_out,
    check,
)
from hypothesis import given
from hypothesis import strategies as st


def get(*names: str) -> Request:
    return Request(reads=names)


def put(name: str, value: str, expected: int | None = None) -> Request:
    return Request(writes=(Write(name, value, expected),))


def delete(name: str) -> Request:
    return Request(writes=(Write(name, None),))


def both(value: str) -> Request:
    return Request(writes=(Write("a", value), Write("b", value)))


WAS_PUT = Written((1,))
HOLDS_X, HOLDS_Y = Read((Versioned("x", 1),)), Read((Versioned("y", 2),))
MISSING = Read((None,))


def one_after_the_other(*steps: tuple[Request, Read | Written | Refused | NotDone]) -> list[Event]:
    """Each call returns before the next one."""
    history: list[Event] = []
    for number, (request, answer) in enumerate(steps):
        history += [Call(number, request), Return(number, answer)]
    return history


RIGHT: dict[str, list[Event]] = {
    "nothing": [],
    "one after the other": one_after_the_other(
        (get("a"), MISSING),
        (put("a", "x", 0), WAS_PUT),
        (put("a", "y", 0), Refused(0, Versioned("x", 1))),
        (put("a", "y", 1), Written((2,))),
        (get("a", "b"), Read((Versioned("y", 2), None))),
        (delete("a"), Written((None,))),
        (delete("a"), Refused(0, None)),
        (put("a", "x"), WAS_PUT),
        (both("z"), Written((2, 1))),
        (Request(writes=(Write("b", "q"), Write("a", None, 1))), Refused(1, Versioned("z", 2))),
    ),
    "a get beside a put sees it": [Call(1, put("a", "x")), Call(2, get("a")), Return(2, HOLDS_X), Return(1, WAS_PUT)],
    "a get beside a put does not see it": [
        *(Call(1, put("a", "x")), Call(2, get("a")), Return(1, WAS_PUT), Return(2, MISSING)),
    ],
    "the call that came last took effect first": [
        *(Call(1, put("a", "y")), Call(2, put("a", "x")), Return(2, WAS_PUT), Return(1, Written((2,)))),
        *(Call(3, get("a")), Return(3, HOLDS_Y)),
    ],
    "what was under way in a crash happened": [
        *(Call(1, put("a", "x")), Crash(), Call(2, get("a")), Return(2, HOLDS_X)),
    ],
    "what was under way in a crash did not happen": [
        *(Call(1, put("a", "x")), Crash(), Call(2, get("a")), Return(2, MISSING)),
    ],
    "an answer that was read after the crash": [
        *(Call(1, put("a", "x")), Crash(), Call(2, get("a")), Return(2, HOLDS_X), Return(1, WAS_PUT)),
    ],
    "a call without an answer takes effect late": [
        *(Call(1, put("a", "x")), Call(2, get("a")), Return(2, MISSING), Call(3, get("a")), Return(3, HOLDS_X)),
    ],
    "one of several gateways ended, and another one goes on with its call": [
        *(Call(1, put("a", "x")), Call(2, put("b", "y")), Crash(frozenset({1})), Call(3, get("a", "b"))),
        *(Return(3, Read((None, None))), Call(4, get("a", "b")), Return(4, Read((None, Versioned("y", 1))))),
        Return(2, WAS_PUT),
    ],
    "what was not done": one_after_the_other((put("a", "x"), NotDone()), (get("a"), MISSING)),
    "transactions that cross": [
        *(Call(1, both("x")), Call(2, both("y")), Call(3, get("a", "b")), Return(1, Written((1, 1)))),
        *(Return(2, Written((2, 2))), Return(3, Read((Versioned("x", 1), Versioned("x", 1))))),
    ],
}

WRONG: dict[str, list[Event]] = {
    "a stale read": one_after_the_other((put("a", "x"), WAS_PUT), (get("a"), MISSING)),
    "a value that nobody wrote": one_after_the_other((get("a"), HOLDS_X)),
    "a lost update": [
        *(Call(1, put("a", "x", 0)), Call(2, put("a", "y", 0)), Return(1, WAS_PUT), Return(2, WAS_PUT)),
    ],
    "a version that was skipped": one_after_the_other((put("a", "x"), Written((2,)))),
    "the same version twice": one_after_the_other((put("a", "x"), WAS_PUT), (put("a", "y"), WAS_PUT)),
    "refused without a reason": one_after_the_other((put("a", "x", 0), Refused(0, Versioned("y", 1)))),
    "a conflict that shows something else": one_after_the_other(
        (put("a", "x"), WAS_PUT), (put("a", "y", 0), Refused(0, Versioned("z", 1)))
    ),
    "refused, and yet written": one_after_the_other((put("a", "x"), NotDone()), (get("a"), HOLDS_X)),
    "answered, and lost in a crash": [
        *one_after_the_other((put("a", "x"), WAS_PUT)),
        *(Crash(), Call(9, get("a")), Return(9, MISSING)),
    ],
    "seen, and lost in a crash": [
        *(
            Call(1, put("a", "x")),
            Call(2, get("a")),
            Return(2, HOLDS_X),
            Crash(),
            Call(3, get("a")),
            Return(3, MISSING),
        ),
    ],
    "not there after a crash, and back later": [
        *(Call(1, put("a", "x")), Crash(), Call(2, get("a")), Return(2, MISSING), Call(3, get("a"))),
        Return(3, HOLDS_X),
    ],
    "not there after one of several gateways ended, and back later": [
        *(Call(1, put("a", "x")), Crash(frozenset({1})), Call(2, get("a")), Return(2, MISSING), Call(3, get("a"))),
        Return(3, HOLDS_X),
    ],
    "answered after the crash, and not there": [
        *(Call(1, put("a", "x")), Crash(), Call(2, get("a")), Return(2, MISSING), Return(1, WAS_PUT)),
    ],
    "seen, and gone again": [
        *(Call(1, put("a", "x")), Call(2, get("a")), Return(2, HOLDS_X), Call(3, get("a")), Return(3, MISSING)),
    ],
    "half a transaction": [
        *(Call(1, both("x")), Call(2, get("a", "b")), Return(2, Read((Versioned("x", 1), None)))),
    ],
    "half a transaction, after a crash": [
        *(Call(1, both("x")), Crash(), Call(2, get("a")), Return(2, HOLDS_X), Call(3, get("b")), Return(3, MISSING)),
    ],
    "transactions in another order for each name": [
        *(Call(1, both("x")), Call(2, both("y")), Return(1, Written((1, 2))), Return(2, Written((2, 1)))),
    ],
    "right for each name, wrong for both": [  # two readers see two puts in opposite orders
        *(Call(1, put("a", "x")), Call(2, put("b", "x"))),
        *(Call(3, get("a", "b")), Return(3, Read((Versioned("x", 1), None)))),
        *(Call(4, get("a", "b")), Return(4, Read((None, Versioned("x", 1))))),
    ],
    "a list that was made while another was written": [  # of two puts one after the other only the second is seen
        *(Call(1, get("a", "b")), Call(2, put("a", "x")), Return(2, WAS_PUT), Call(3, put("b", "x"))),
        *(Return(3, WAS_PUT), Return(1, Read((None, Versioned("x", 1))))),
    ],
}


@pytest.mark.parametrize("history", RIGHT.values(), ids=RIGHT)
def test_what_a_store_may_answer_passes(history: list[Event]) -> None:
    """A history that has an order is accepted."""
    check(history)


@pytest.mark.parametrize("history", WRONG.values(), ids=WRONG)
def test_what_no_store_can_answer_is_refused(history: list[Event]) -> None:
    """The error names the call that no order explains."""
    with pytest.raises(NotLinearizable, match=r"call \d+ \(Request"):
        check(history)


NAMES = st.sampled_from("ab")
WRITES = st.builds(Write, NAMES, st.sampled_from(["x", "y", None]), st.sampled_from([None, None, 0, 1]))
REQUESTS = st.one_of(
    st.builds(get, NAMES),
    st.just(get("a", "b")),
    st.builds(lambda write: Request(writes=(write,)), WRITES),
    st.builds(
        lambda write, value: Request(writes=(write, Write({"a": "b", "b": "a"}[write.name], value))),
        WRITES,
        st.text("xy"),
    ),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Up to five calls that overlap anyhow, on a store that does them at random moments and may forget one write."""
    requests = dict(enumerate(draw(st.lists(REQUESTS, min_size=1, max_size=5))))
    state, history, answers = NOTHING, list[Event](), dict[int, Read | Written | Refused | NotDone]()
    steps = draw(st.permutations([id for id in requests for _ in range(3)]))
    wrong = draw(st.sampled_from([None, *requests]))
    crashes = draw(st.sampled_from([None, *range(len(steps))]))
    seen = dict.fromkeys(requests, 0)
    for number, id in enumerate(steps):
        if number == crashes:
            history.append(Crash())
        if seen[id] == 0:
            history.append(Call(id, requests[id]))
        elif seen[id] == 1:
            answers[id], after = carry_out(requests[id], state)
            if id != wrong:
                state = after
        elif draw(st.integers(0, 3)):
            history.append(Return(id, answers[id]))
        seen[id] += 1
    if crashes is not None and draw(st.booleans()):  # only a part of the store has crashed
        place = history.index(Crash())
        answered = {event.id for event in history if isinstance(event, Return)}
        open_ = {event.id for event in history[:place] if isinstance(event, Call)} - answered
        history[place] = Crash(frozenset(id for id in open_ if draw(st.booleans())))
    return history


def explained(history: list[Event]) -> bool:
    """The definition itself: try every order of every choice of calls."""
    calls = {event.id: event.request for event in history if isinstance(event, Call)}
    answers = {event.id: event.answer for event in history if isinstance(event, Return)}
    begins = {event.id: place for place, event in enumerate(history) if isinstance(event, Call)}
    ends = {event.id: place for place, event in enumerate(history) if isinstance(event, Return)}
    for place, event in enumerate(history):
        if isinstance(event, Crash):
            for id in begins.keys() if event.calls is None else event.calls:
                if begins[id] < place:
                    ends[id] = min(ends.get(id, place), place)
    open_ = calls.keys() - answers.keys()
    for order in (order for count in range(len(calls) + 1) for order in permutations(calls, count)):
        if not calls.keys() - open_ <= set(order):
            continue
        if any(ends.get(later, len(history)) < begins[id] for at, id in enumerate(order) for later in order[at:]):
            continue
        state: State = NOTHING
        for id in order:
            answer, state = carry_out(calls[id], state)
            if answers.get(id, answer) != answer:
                break
        else:
            return True
    return False


@given(histories())
def test_the_checker_agrees_with_trying_every_order(history: list[Event]) -> None:
    """It refuses exactly what no order explains."""
    try:
        check(history)
    except NotLinearizable:
        assert not explained(history)
    else:
        assert explained(history)
