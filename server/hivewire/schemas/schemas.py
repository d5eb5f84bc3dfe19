"""The schemas of a ledger: which one a name has, and the judgement of everything that is written under it.

A schema is a record of kind `schema`, whose key is the names it is for. A writer has its value judged when its request
begins (`check`, `settle`). Every write is judged once more when the ledger evaluates it, if its schema changed since or
nobody asked (`Kind.judge`); so what is stored fits, whoever writes it, over any API.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw, Struct

from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, EvaluatedState, Transaction, Write
from hivewire.process_pool import Ended, Killed, Overdue, ProcessPool
from hivewire.schemas.compiled import compiled, judgement
from hivewire.telemetry import Gauges
from hivewire_protocol.errors import DoesNotFit, Unavailable, VersionConflict, WireError
from hivewire_protocol.nouns.layer import split
from hivewire_protocol.nouns.schema import Problem

if TYPE_CHECKING:
    from hivewire.schemas.survey import Survey

KIND = "schema"

NULL = Raw(b"null")

MAX_SCHEMAS = 1_000
"""In one ledger."""

TOO_COSTLY = Problem("", "", "too costly: it takes over 2 s or 256 MiB to judge this value by this schema")


class SchemaContent(Struct, omit_defaults=True):
    """The content of a schema's record. The key of the record is the names that it is for."""

    schema: Raw = NULL
    secret: bool = False


class Rule(Struct, frozen=True):
    """A schema as it is now."""

    names: str
    schema: bytes | None
    secret: bool
    change: Change

    @property
    def revision(self) -> int:
        """The revision of its last change."""
        return self.change.revision


def rule_after(change: Change) -> Rule | None:
    """The schema that a change of its record leaves; None after a delete."""
    if change.content is None:
        return None
    content = msgspec.json.decode(change.content, type=SchemaContent)
    schema = None if content.schema == NULL else bytes(content.schema)
    return Rule(change.key, schema, content.secret, change)


def name_of(record: Change | Write) -> str:
    """The configuration's name in the key of its record, which may be one of a layer."""
    return record.key if record.kind == "configuration" else split(record.key)[1]


def layer_of(change: Change) -> str | None:
    """The layer in the key of its record; None for a plain configuration."""
    return None if change.kind == "configuration" else split(change.key)[0]


JUDGED = ("configuration", "layerConfiguration")
"""The kinds whose contents are judged."""


class Schemas:
    """An index of the ledger's schemas that follows every change."""

    def __init__(self, ledger: Ledger, pool: ProcessPool) -> None:
        self.ledger = ledger
        self._pool = pool
        self.rules: dict[str, Rule] = {}
        """All schemas, by their names."""
        self._lengths: Counter[int] = Counter()
        self._descending: tuple[int, ...] = ()  # the lengths of all prefixes, longest first
        self.secrets = 0
        """How many of them make values secret."""
        self.on_secrets: list[Callable[[], None]] = []
        """Called when other values are secret than before."""
        self.surveys: set[Survey] = set()
        """The surveys in progress, which are told of values that are written meanwhile."""
        ledger.observe(self._apply, KIND)
        ledger.observe(self._tell, *JUDGED)

    # The life of the component.

    def start(self) -> None:
        """Read what the ledger holds; it must be open."""
        self._apply(self.ledger.kind(KIND).live.values())

    async def close(self) -> None:
        """Nothing to do."""

    def gauges(self) -> Gauges:
        """No metrics."""
        return {}

    def _apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.kind != KIND:
                continue
            self.expect()
            former, rule = self.rules.pop(change.key, None), rule_after(change)
            if rule is not None:
                self.rules[change.key] = rule
            self._count(former, -1)
            self._count(rule, 1)
        self._descending = tuple(sorted(+self._lengths, reverse=True))
        for call in self.on_secrets:
            call()

    def _count(self, rule: Rule | None, number: int) -> None:
        if rule is not None:
            self.secrets += number * rule.secret
            if rule.names.endswith("*"):
                self._lengths[len(rule.names) - 1] += number

    def _tell(self, changes: Sequence[Change]) -> None:
        for survey in self.surveys:
            survey.note(changes)

    def expect(self) -> None:
        """Judge all writes from now on. Before the first schema there is nothing to judge."""
        for kind in JUDGED:
            self.ledger.kind(kind).judge = self._judge

    # Looking up.

    def of(self, name: str) -> Rule | None:
        """The schema of a name: its own, or that of the longest prefix. A pattern has that of its prefix."""
        return _find(name, self._descending, self.rules.get)

    def is_secret(self, name: str) -> bool:
        """Whether the values of this name are secret."""
        return self.secrets > 0 and (rule := self.of(name)) is not None and rule.secret

    # Judging.

    def check(self, write: Write) -> bool:
        """Judge what is to be written. Raises DoesNotFit. False if that takes too long for the event loop: `settle`."""
        if not self.rules or write.content is None or write.kind not in JUDGED:
            return True
        name = name_of(write)
        rule = self.of(name)
        if rule is None or rule.schema is None:
            return True
        judge = compiled(rule.schema)
        if not judge.is_light(write.content):
            return False
        if not judge.fits(write.content):
            if not judge.is_brief(write.content):
                return False
            raise unfit(name, judge.problems(write.content, secret=rule.secret))
        write.judged = rule.revision
        return True

    async def settle(self, transaction: Transaction) -> None:
        """Judge all that is to be written, however long that takes. Raises DoesNotFit; of several writes it names the
        index of the first that does not fit."""
        several = sum(write.kind in JUDGED for write in transaction.writes) > 1
        for index, write in enumerate(transaction.writes):
            try:
                if not self.check(write):
                    await self._settle(write)
            except DoesNotFit as error:
                if several:
                    raise error.at(index) from None
                raise

    async def _settle(self, write: Write) -> None:
        name = name_of(write)
        rule = self.of(name)
        if rule is None or rule.schema is None or write.content is None:
            return
        if problems := await self.problems(rule.schema, write.content, secret=rule.secret):
            raise unfit(name, problems)
        write.judged = rule.revision

    async def problems(self, schema: bytes, content: bytes, *, secret: bool = False) -> list[Problem]:
        """What is wrong with a value. What takes long is done in another process, for 2 s at most.

        Raises Unavailable when that process cannot be started, was killed from outside, or got no processor.
        """
        judge = compiled(schema)
        if judge.is_light(content):
            if judge.fits(content):
                return []
            if judge.is_brief(content):
                return judge.problems(content, secret=secret)
        try:
            return await self._pool.run(judgement, schema, content, secret)
        except (Killed, Overdue) as error:  # its own limit is of processor time, so it was suspended or starved
            raise Unavailable(str(error)) from None
        except Ended:
            return [TOO_COSTLY]

    def _judge(self, write: Write, state: EvaluatedState) -> WireError | None:
        """The judgement when the ledger evaluates a write, for those that were judged by another schema or by none."""
        name = name_of(write)
        rule = self.then(name, state)
        if rule is None or rule.schema is None or rule.revision == write.judged:
            return None
        content = write.content or b""
        judge = compiled(rule.schema)
        if not judge.is_light(content):
            return VersionConflict(f"The schema of '{name}' changed at the same time; try again", change=None)
        if judge.fits(content):
            return None
        return unfit(name, judge.problems(content, secret=rule.secret) if judge.is_brief(content) else [])

    def then(self, name: str, state: EvaluatedState) -> Rule | None:
        """The schema of a name when a write is evaluated."""
        written = {change.key: change for change in state.written(KIND)}
        if not written:
            return self.of(name)

        def get(names: str) -> Rule | None:
            change = written.get(names)
            return self.rules.get(names) if change is None else rule_after(change)

        lengths = {len(names) - 1 for names in written if names.endswith("*")}.union(self._descending)
        return _find(name, sorted(lengths, reverse=True), get)


def _find(name: str, lengths: Iterable[int], get: Callable[[str], Rule | None]) -> Rule | None:
    """The rule of the name, otherwise of the longest prefix."""
    if (rule := get(name)) is not None:
        return rule
    for length in lengths:
        if length <= len(name) and (rule := get(name[:length] + "*")) is not None:
            return rule
    return None


def unfit(name: str, problems: list[Problem]) -> DoesNotFit:
    """The error for a value with these problems."""
    detail = ""
    if problems:
        first = problems[0]
        detail = f": {first.pointer}: {first.message}" if first.pointer else f": {first.message}"
    if len(problems) > 1:
        detail += f" (and {len(problems) - 1} more)"
    return DoesNotFit(f"Configuration '{name}' does not fit its schema", detail, problems=problems)
