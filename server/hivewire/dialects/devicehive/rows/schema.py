"""The paths of schemas."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.schema import SchemaCheck, SchemaDelete, SchemaHistory, SchemaList, SchemaPut

ROWS = (
    Row("GET", "/schema", SchemaList),
    Row("POST", "/schema/check", SchemaCheck),
    Row("GET", "/schema/{names}", SchemaList, shows="schemas", single=True),
    Row("GET", "/schema/{names}/history", SchemaHistory),
    Row("PUT", "/schema/{names}", SchemaPut, shows="schema", unconditional=True),
    Row("DELETE", "/schema/{names}", SchemaDelete, 204),
)
