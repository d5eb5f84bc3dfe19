"""A look at all stored values that a new schema would be for, while others go on writing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from hivewire.ledger.records import Change, EvaluatedState
from hivewire.schemas.compiled import MAX_PROBLEMS, Compiled, compiled
from hivewire.schemas.schemas import JUDGED, TOO_COSTLY, Rule, Schemas, layer_of, name_of
from hivewire.slices import in_slices
from hivewire_protocol.nouns.layer import key_of, split
from hivewire_protocol.nouns.schema import Misfit, Problem
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.tenant.steps import Steps

MAX_HEAVY = 20
"""Values that may be judged in other processes, each for 2 s at most."""

LITTLE = 100
"""Values that changed meanwhile and are judged when the schema is written, all at once."""

TOO_MANY = Problem("", "", "too costly: more than 20 values take long to judge")


class Found(NamedTuple):
    """A value, with its name and its layer, if it has one."""

    layer: str | None
    name: str
    content: bytes


class Survey:
    """Finds the stored values that do not fit a schema for `names`, while it is entered as a context.

    It is also a precondition of the schema's write: that what was written since the survey fits as well. `secret` says
    that nothing of the values is told, `sees` of which layers it may be. Of values that are secret by then nothing is.
    """

    def __init__(
        self, schemas: Schemas, names: str, schema: bytes, *, secret: bool, sees: Callable[[str | None], bool]
    ) -> None:
        self.misfits: list[Misfit] = []
        """What does not fit, at most MAX_PROBLEMS of them."""
        self._schemas = schemas
        self._names = names
        self._wanted = Patterns([names])
        self._schema = schema
        self._secret = secret
        self._sees = sees
        self._changed: dict[tuple[str, str], None] = {}  # since they were judged

    def __enter__(self) -> Self:
        self._schemas.surveys.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._schemas.surveys.discard(self)

    def note(self, changes: Iterable[Change]) -> None:
        """Note what is written meanwhile, to judge it too."""
        for change in changes:
            if change.kind in JUDGED and name_of(change) in self._wanted:
                self._changed[change.kind, change.key] = None

    async def run(self) -> list[Misfit]:
        """Stored values that do not fit the schema, except in the last few writes."""
        keys: Sequence[tuple[str, str]] = await in_slices(self._all())
        while True:
            await self._look(self._stored(keys))
            if self.misfits or len(self._changed) <= LITTLE:
                return self.misfits
            keys = [*self._changed]
            self._changed.clear()

    async def look_at(self, values: Iterable[tuple[str | None, str, str]]) -> list[Misfit]:
        """The same of values that are to be written later; `values` are their layers, names and texts."""
        await self._look(Found(layer, name, text.encode()) for layer, name, text in values)
        return self.misfits

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether what was written since the survey fits too, other writes of the same commit included."""
        self.misfits = []
        changes = [state.last(kind, key) for kind, key in self._changed]
        for kind in JUDGED:
            changes += state.written(kind)
        judge = compiled(self._schema)
        for change in changes:
            if (found := _found(change)) is None or found.name not in self._wanted:
                continue
            rule = self._schemas.then(found.name, state)
            if not self._is_for(found.name, rule):
                continue
            if not judge.is_light(found.content):
                self._add(found, [TOO_COSTLY])
            elif not judge.fits(found.content):
                self._add(found, self._problems(judge, found, rule))
        return not self.misfits

    def _all(self) -> Steps[list[tuple[str, str]]]:
        """The kinds and keys of all values with these names. Those in layers are looked for layer by layer."""
        ledger, found = self._schemas.ledger, list[tuple[str, str]]()
        for key in [*ledger.kind("configuration").within(self._wanted)]:
            found.append(("configuration", key))
            yield
        layered, after = ledger.kind("layerConfiguration"), ""
        while (at := layered.keys.bisect_left(after)) < len(layered.keys):
            layer, _ = split(layered.keys[at])
            wanted = Patterns([key_of(layer, self._names)])
            found += [("layerConfiguration", key) for key in layered.within(wanted)]
            after = f"{layer}0"  # the character after the slash: all keys of the layer are below
            yield
        return found

    def _stored(self, keys: Iterable[tuple[str, str]]) -> Iterator[Found]:
        for kind, key in keys:
            if (found := _found(self._schemas.ledger.get(kind, key))) is not None:
                yield found

    def _is_for(self, name: str, rule: Rule | None) -> bool:
        """Whether this schema would be that of a name that it is for, in place of the one that the name has."""
        if rule is None or self._names in (name, rule.names):
            return True
        return rule.names != name and len(rule.names) < len(self._names)

    async def _look(self, values: Iterable[Found]) -> None:
        """Judge values, those on the event loop in slices and the others in other processes."""
        unfit, heavy = await in_slices(self._judge(values))
        if len(heavy) > MAX_HEAVY:
            self._add(heavy[0], [TOO_MANY])
            heavy = []
        for found in (*unfit, *heavy):
            secret = self._hides(found.layer, self._schemas.of(found.name))
            if problems := await self._schemas.problems(self._schema, found.content, secret=secret):
                self._add(found, problems)

    def _judge(self, values: Iterable[Found]) -> Steps[tuple[list[Found], list[Found]]]:
        """Judge the values. Returns those whose problems take long to describe, and those that take long to judge: both
        are for other processes."""
        judge, unfit, heavy = compiled(self._schema), list[Found](), list[Found]()
        for found in values:
            if found.name in self._wanted and self._is_for(found.name, rule := self._schemas.of(found.name)):
                if not judge.is_light(found.content):
                    heavy.append(found)
                elif not judge.fits(found.content):
                    if judge.is_brief(found.content):
                        self._add(found, self._problems(judge, found, rule))
                    else:
                        unfit.append(found)
                if len(self.misfits) + len(unfit) >= MAX_PROBLEMS:
                    break
            yield
        return unfit, heavy

    def _problems(self, judge: Compiled, found: Found, rule: Rule | None) -> list[Problem]:
        secret = self._hides(found.layer, rule)
        return judge.problems(found.content, secret=secret) if judge.is_brief(found.content) else []

    def _hides(self, layer: str | None, rule: Rule | None) -> bool:
        """Whether nothing of a value with this schema may be told."""
        return self._secret or (rule is not None and rule.secret) or not self._sees(layer)

    def _add(self, found: Found, problems: list[Problem]) -> None:
        if len(self.misfits) < MAX_PROBLEMS:
            self.misfits.append(Misfit(found.name, problems))


def _found(change: Change | None) -> Found | None:
    """The value that a change leaves, if there is one."""
    if change is None or change.content is None:
        return None
    return Found(layer_of(change), name_of(change), change.content)
