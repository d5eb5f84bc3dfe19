"""A look at all stored values that a new schema would be for, while others go on writing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from hivewire.ledger.records import Change, EvaluatedState
from hivewire.schemas.compiled import MAX_PROBLEMS, Compiled, compiled
from hivewire.schemas.schemas import JUDGED, TOO_COSTLY, Rule, Schemas, layer_of, name_of
from hivewire.slices import in_slices
from hivewire_protocol.nouns.layer import split
from hivewire_protocol.nouns.schema import Misfit, Problem
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.tenant.steps import Steps

MAX_HEAVY = 20
"""Values that may be judged in other processes, each for 2 s at most."""

LITTLE = 100
"""Values that changed meanwhile and are judged when the schema is written, all at once."""

TOO_MANY = Problem("", "", "too costly: more than 20 values take long to judge")


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
        keys: Sequence[tuple[str, str]] = [*self._all()]
        while True:
            await self._judge_elsewhere(*await in_slices(self._judge(keys)))
            if self.misfits or len(self._changed) <= LITTLE:
                return self.misfits
            keys = [*self._changed]
            self._changed.clear()

    async def look_at(self, values: Iterable[tuple[str | None, str, str]]) -> list[Misfit]:
        """The same of values that are to be written later; `values` are their layers, names and texts."""
        for layer, name, value in values:
            rule = self._schemas.of(name)
            if self._is_for(name, rule) and len(self.misfits) < MAX_PROBLEMS:
                secret = self._hides(layer, rule)
                problems = await self._schemas.problems(self._schema, value.encode(), secret=secret)
                if problems:
                    self.misfits.append(Misfit(name, problems))
        return self.misfits

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether what was written since the survey fits too, other writes of the same commit included."""
        self.misfits = []
        changes = [state.last(kind, key) for kind, key in self._changed]
        for kind in JUDGED:
            changes += state.written(kind)
        judge = compiled(self._schema)
        for change in changes:
            if change is None or change.content is None:
                continue
            rule = self._schemas.then(name_of(change), state)
            if not self._is_for(name_of(change), rule):
                continue
            if not judge.is_light(change.content):
                self._found(change, [TOO_COSTLY])
            elif not judge.fits(change.content):
                self._found(change, self._problems(judge, change, rule))
        return not self.misfits

    def _all(self) -> Iterator[tuple[str, str]]:
        ledger = self._schemas.ledger
        for key in ledger.kind("configuration").within(self._wanted):
            yield "configuration", key
        for key in ledger.kind("layerConfiguration").keys:
            if split(key)[1] in self._wanted:
                yield "layerConfiguration", key

    def _is_for(self, name: str, rule: Rule | None) -> bool:
        """Whether this schema would be the one of the name, in place of the one that it has."""
        if name not in self._wanted:
            return False
        if rule is None or self._names in (name, rule.names):
            return True
        return rule.names != name and len(rule.names) < len(self._names)

    def _judge(self, keys: Iterable[tuple[str, str]]) -> Steps[tuple[list[Change], list[Change]]]:
        """Judge the values; returns those that do not fit and whose problems cannot be described on the event loop, and
        those that are too costly for it."""
        judge, unfit, heavy = compiled(self._schema), list[Change](), list[Change]()
        for kind, key in keys:
            change = self._schemas.ledger.get(kind, key)
            if change is None or change.content is None:
                continue
            rule = self._schemas.of(name_of(change))
            if not self._is_for(name_of(change), rule):
                continue
            if not judge.is_light(change.content):
                heavy.append(change)
            elif not judge.fits(change.content):
                if judge.is_brief(change.content):
                    self._found(change, self._problems(judge, change, rule))
                else:
                    unfit.append(change)
            if len(self.misfits) + len(unfit) == MAX_PROBLEMS:
                break
            yield
        return unfit, heavy

    async def _judge_elsewhere(self, unfit: Sequence[Change], heavy: Sequence[Change]) -> None:
        if len(heavy) > MAX_HEAVY:
            self._found(heavy[0], [TOO_MANY])
            heavy = ()
        for change in (*unfit, *heavy):
            secret = self._hides(layer_of(change), self._schemas.of(name_of(change)))
            if problems := await self._schemas.problems(self._schema, change.content or b"", secret=secret):
                self._found(change, problems)

    def _problems(self, judge: Compiled, change: Change, rule: Rule | None) -> list[Problem]:
        content = change.content or b""
        secret = self._hides(layer_of(change), rule)
        return judge.problems(content, secret=secret) if judge.is_brief(content) else []

    def _hides(self, layer: str | None, rule: Rule | None) -> bool:
        """Whether nothing of a value with this schema may be told."""
        return self._secret or (rule is not None and rule.secret) or not self._sees(layer)

    def _found(self, change: Change, problems: list[Problem]) -> None:
        if len(self.misfits) < MAX_PROBLEMS:
            self.misfits.append(Misfit(name_of(change), problems))
