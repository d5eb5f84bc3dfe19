"""The streams of a site: their configuration, making them, and the refusal to use one that is configured otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping
from time import monotonic
from typing import Any

from msgspec import Struct

from hivewire.nats.connection import UNAVAILABLE, Connection, Refused, Silent, Unusable
from hivewire.telemetry import log

LEVEL = 2
"""The API level of JetStream that has atomic batches and republished sequences (server 2.12)."""

NO_STREAM = 10059
TAKEN = 10058
"""The error codes of a stream that does not exist, and of one that exists with another configuration."""

NO_PEERS = 10005
"""The error code when there are too few servers for all copies, such as some seconds after a start of all of them."""

EPOCH = "hivewire.epoch"
"""In the metadata of a stream that is a log."""

PAUSE = 0.2
"""Seconds between two tries while the cluster has no leader, such as after a start of all its servers."""

FORBIDDEN = ("mirror", "sources", "subject_transform", "persist_mode", "sealed", "deny_purge", "allow_rollup_hdrs")
"""Options that no stream of ours has, because each of them loses, changes or delays messages without notice."""


class Info(Struct):
    """What the leader knows of a stream. Places are sequences; an empty stream begins behind its last one.

    `servers` have a copy, the leader first; a server alone has no name here.
    """

    metadata: Mapping[str, str]
    first: int
    last: int
    replicas: int
    bytes: int
    servers: tuple[str, ...]
    name: str

    @property
    def epoch(self) -> str:
        """What tells this stream from another one of its name. Raises Unusable when it has none."""
        if not (epoch := self.metadata.get(EPOCH, "")):
            raise Unusable(f"the stream {self.name} has no epoch: Hivewire did not make it")
        return epoch


def log_configuration(name: str, subject: str, feed: str, replicas: int, most_bytes: int) -> dict[str, Any]:
    """The configuration of a stream that is a log: nothing leaves it by itself, and what is stored is republished."""
    return {
        "name": name,
        "subjects": [subject],
        "storage": "file",
        "num_replicas": replicas,
        "retention": "limits",
        "max_age": 0,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_bytes": most_bytes,
        "discard": "new",  # a full log refuses, and drops nothing
        "allow_direct": True,
        "allow_atomic": True,
        "deny_delete": True,
        "republish": {"src": subject, "dest": feed},
    }


def with_epoch(wanted: Mapping[str, Any], epoch: str) -> dict[str, Any]:
    """The same configuration, with an epoch in the metadata."""
    return {**wanted, "metadata": {**wanted["metadata"], EPOCH: epoch}}


async def require_level(connection: Connection) -> None:
    """Raise Unusable when the servers are too old, or have no JetStream for us."""
    info = await patiently(connection, "INFO", None, 10.0)
    level = info.get("api", {}).get("level", 0)
    if level < LEVEL:
        raise Unusable(f"the servers of {connection.address} are too old: NATS 2.12 or newer is needed")


async def ensure(connection: Connection, wanted: Mapping[str, Any], seconds: float, *, new: Mapping[str, Any]) -> Info:
    """The stream, if it is as `wanted`; when it is not there it is made as `new` says. Raises Unusable.

    Of several gateways at once one makes it.
    """
    if await inspect(connection, wanted["name"], seconds) is None:
        await create(connection, new, seconds)
    return await require_configuration(connection, wanted, seconds)


async def create(connection: Connection, wanted: Mapping[str, Any], seconds: float) -> bool:
    """Make a stream, unless it exists: then False, whatever its configuration. Raises Unusable."""
    try:
        answer = await patiently(
            connection, f"STREAM.CREATE.{wanted['name']}", wanted, seconds, (UNAVAILABLE, NO_PEERS)
        )
    except Refused as refused:
        if refused.code == TAKEN:
            return False
        raise Unusable(f"cannot make the stream {wanted['name']}: {refused}{_room(refused, wanted)}") from refused
    except Unusable as error:
        raise Unusable(f"{error}{_room(error, wanted)}") from error
    if made := bool(answer.get("did_create", True)):
        log.info("a stream was made", store=str(connection.address), stream=wanted["name"])
    return made


def _room(error: Refused | Unusable, wanted: Mapping[str, Any]) -> str:
    """What to do when the servers have no room for a stream, which reserves all of its size."""
    if "insufficient storage" not in str(error):
        return ""
    return (
        f"; it reserves {wanted['max_bytes']:,} bytes: set store_bytes and messages_bytes to less,"
        " or max_file_store of the servers to more"
    )


async def inspect(connection: Connection, name: str, seconds: float = 0.0) -> Info | None:
    """What a stream is like now, None when there is none. Raises Silent and Refused when no leader answers."""
    try:
        answer = await patiently(connection, f"STREAM.INFO.{name}", None, seconds)
    except Refused as refused:
        if refused.code == NO_STREAM:
            return None
        raise
    return info_of(answer)


def info_of(answer: Mapping[str, Any]) -> Info:
    """The part of an answer about a stream that matters here."""
    state, config, cluster = answer["state"], answer["config"], answer.get("cluster") or {}
    named = [cluster.get("leader"), *(replica.get("name") for replica in cluster.get("replicas") or ())]
    return Info(
        config.get("metadata") or {},
        state["first_seq"],
        state["last_seq"],
        config["num_replicas"],
        state["bytes"],
        tuple(name for name in named if name),
        config["name"],
    )


async def require_configuration(connection: Connection, wanted: Mapping[str, Any], seconds: float) -> Info:
    """What a stream is like, if it is configured as wanted. Raises Unusable with all differences.

    Its size may have been changed since it was made, because a full log has to grow.
    """
    name = wanted["name"]
    try:
        # The server that answers may be the last one to hear that another gateway has just made it.
        answer = await patiently(connection, f"STREAM.INFO.{name}", None, seconds, (UNAVAILABLE, NO_STREAM))
    except Refused as refused:
        raise Unusable(f"cannot use the stream {name}: {refused}") from refused
    found = answer["config"]
    differences = [
        f"{field} is {found.get(field, False)!r}, not {value!r}"
        for field, value in wanted.items()
        if field not in ("max_bytes", "metadata") and found.get(field, False) != value
    ]
    differences += [f"{field} is set" for field in FORBIDDEN if found.get(field)]
    metadata = found.get("metadata") or {}
    differences += [
        f"{field} is {metadata.get(field)!r}, not {value!r}"
        for field, value in wanted.get("metadata", {}).items()
        if metadata.get(field) != value
    ]
    if differences:
        raise Unusable(f"the stream {name} is not as this gateway needs it: {'; '.join(differences)}")
    return info_of(answer)


async def patiently(
    connection: Connection, what: str, body: Any, seconds: float, passing: Container[int] = (UNAVAILABLE,)
) -> dict[str, Any]:
    """The answer to a request of the API, asked again while no leader answers, or refuses with a code of `passing`.

    Raises Refused, and Unusable after so many seconds; Silent and Refused at once with none.
    """
    until = monotonic() + seconds
    waiting = False
    while True:
        try:
            return await connection.api(what, body, seconds=2.0)
        except (Silent, Refused) as error:
            if isinstance(error, Refused) and error.code not in passing:
                raise
            if not seconds:
                raise
            if monotonic() > until:
                problem = "does not answer" if isinstance(error, Silent) else "is not ready"
                raise Unusable(f"{connection.address} {problem}: {error}") from error
            if not waiting:
                waiting = True
                log.info("waiting for the store", store=str(connection.address), reason=str(error))
        await asyncio.sleep(PAUSE)
