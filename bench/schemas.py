"""What a schema costs a put: two gateways side by side, of which one has a schema for all names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import servers
from bench.generator import CONTENTS
from bench.measures import TURN_SECONDS, Rates, Row, log_in, send

SERVICE: dict[str, Any] = {
    "type": "object",
    "required": ["host", "port"],
    "properties": {
        "host": {"type": "string", "pattern": "^[a-z0-9.-]+$"},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "tags": {"type": "array", "items": {"enum": ["primary", "replica"]}},
        "text": {"type": "string", "maxLength": 4_000},
    },
    "additionalProperties": False,
}
SCHEMA = {"type": "array", "items": SERVICE, "minItems": 1}
"""What values of the load are."""

AT_LEAST = {"put-100": 0.8, "put-2000": 0.3}


def rates(folder: Path, seconds: float, say: Callable[[str], None]) -> list[Row]:
    """Puts a second of 100 bytes and of 2 KB, with a schema and without."""
    with ExitStack() as stack:
        turns: dict[str, Any] = {}
        for name in ("with", "without"):
            server = stack.enter_context(servers.gateway(folder / f"{name}-schema.db"))
            token = log_in(server)
            if name == "with":
                send(server, "PUT", "/api/rest/schema/*", {"schema": SCHEMA}, token)
            for kind in CONTENTS:
                options = {"path": server.path, "connections": 50, "in_flight": 4, "seconds": TURN_SECONDS}
                found = servers.turns("bench.generator", kind, port=server.port, token=token, **options)
                turns[f"{kind} {name} a schema"] = stack.enter_context(found)
        found_rates = Rates(turns, seconds, say)
    ratios = [
        found_rates.ratio(f"{kind} with a schema", f"{kind} without a schema", f"{kind} with a schema / without")
        for kind in CONTENTS
    ]
    bounded = [row._replace(at_least=AT_LEAST[kind]) for kind, row in zip(CONTENTS, ratios, strict=True)]
    return [*found_rates.rows(), *bounded]
