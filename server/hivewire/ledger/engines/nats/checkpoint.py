"""Checkpoints: the whole state at a place of the log, so that a start reads that and the rest, and the log stays short.

A checkpoint is a stream of blocks, each zlib of the MessagePack of a `Block`, cut into messages, and at last a
manifest. The manifest expects the one before: of several gateways that make one at once, one has made it,
and the others remove what they wrote. Then the log is removed up to the checkpoint before, and what is older than that.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import Struct

from hivewire.clocks import now
from hivewire.ledger.engines.nats.body import FORMAT
from hivewire.ledger.journal import Block, Loadable, Snapshot
from hivewire.nats import stream as streams
from hivewire.nats.connection import Connection, Refused, Unusable
from hivewire.telemetry import log

PIECE_BYTES = 512 << 10
WRONG_LAST = 10071

TRIES = 3
"""How often a checkpoint is read that is replaced meanwhile."""

MORE = "Hivewire-More"
"""The header of a message whose block goes on in the next one."""


class Manifest(Struct, frozen=True):
    """What a checkpoint is: the state after the entry `entry` at `place`, in `frames` messages with this SHA-256.

    `made` is milliseconds since 1970. `before` and `before_place` name the checkpoint before this one.
    """

    format: int
    epoch: str
    id: str
    place: int
    entry: str
    frames: int
    sha256: str
    gateway: str
    made: int
    before: str = ""
    before_place: int = 0


class Checkpoints:
    """The checkpoints of a site, in a stream of their own."""

    def __init__(self, connection: Connection, log_stream: str, gateway: str) -> None:
        address = connection.address
        self.stream = f"HWB_{address.site}"
        self._log_stream = log_stream
        self._connection = connection
        self._gateway = gateway
        self._subject = f"hw.{address.site}.base"
        self._wanted = {
            "name": self.stream,
            "subjects": [f"{self._subject}.>"],
            "storage": "file",
            "num_replicas": address.replicas,
            "retention": "limits",
            "max_age": 0,
            "max_msgs": -1,
            "max_msgs_per_subject": -1,
            "max_bytes": -1,  # two checkpoints; a number would reserve that much on each server
            "discard": "new",
            "allow_direct": True,
            "deny_delete": True,
        }

    async def open(self, seconds: float) -> None:
        """Make the stream, or check it. Raises Unusable."""
        await streams.ensure(self._connection, self._wanted, seconds, new=self._wanted)

    async def _of_epoch(self, epoch: str) -> Manifest | None:
        """The manifest of the last checkpoint of an epoch. Raises Silent and Refused."""
        found = await self.newest()
        if found is None or found[0].epoch == epoch:
            return None if found is None else found[0]
        # A command that was to renew the epoch may have ended before the log had the new one.
        manifests = await self._connection.read(self.stream, 1, f"{self._subject}.manifest")
        decoded = [msgspec.msgpack.decode(message.data, type=Manifest) for message in manifests]
        return next((manifest for manifest in reversed(decoded) if manifest.epoch == epoch), None)

    async def newest(self) -> tuple[Manifest, int] | None:
        """The manifest of the last checkpoint and its sequence. Raises Silent and Refused."""
        request = {"last_by_subj": f"{self._subject}.manifest"}
        answer = await self._connection.get(self.stream, request)
        if answer is None:
            return None
        return msgspec.msgpack.decode(answer.data, type=Manifest), answer.place

    # Reading.

    async def load(self, epoch: str, copy: Loadable) -> None:
        """Fill a copy that was begun with the newest checkpoint of this epoch, if there is one. Raises Unusable."""
        for _ in range(TRIES):
            manifest = await self._of_epoch(epoch)
            if manifest is None:
                return
            if manifest.format != FORMAT:
                raise Unusable(f"the checkpoint has the format {manifest.format}; upgrade this gateway")
            started = time.perf_counter()
            try:
                complete = await self._load(manifest, copy)
            except (zlib.error, msgspec.DecodeError):
                complete = False
            if complete:
                seconds = round(time.perf_counter() - started, 1)
                log.info("loaded a checkpoint", place=manifest.place, frames=manifest.frames, seconds=seconds)
                return
        raise Unusable("the checkpoint is damaged, or was replaced again and again")

    async def _load(self, manifest: Manifest, copy: Loadable) -> bool:
        """False when it is not complete: another one replaced it meanwhile."""
        await copy.begin(manifest.epoch)
        digest, frames, data = hashlib.sha256(), 0, bytearray()
        async for headers, piece in self._frames(manifest.id):
            digest.update(piece)
            frames += 1
            data += piece
            if MORE not in headers:
                await copy.load(msgspec.msgpack.decode(zlib.decompress(data), type=Block))
                data.clear()
        if (frames, digest.hexdigest()) != (manifest.frames, manifest.sha256):
            return False
        await copy.complete(manifest.place, bytes.fromhex(manifest.entry))
        return True

    async def _frames(self, id: str) -> AsyncIterator[tuple[Mapping[str, str], bytes]]:
        place = 1
        while messages := await self._connection.read(self.stream, place, f"{self._subject}.{id}"):
            for message in messages:
                yield message.headers, message.data
            place = messages[-1].place + 1

    # Making.

    async def make(self, snapshot: Snapshot, epoch: str) -> Manifest | None:
        """Store a checkpoint of a copy, and remove what it makes superfluous; None when another gateway was first.

        Raises Silent and Refused; what was written then is removed with the next checkpoint.
        """
        found = await self.newest()
        before, expected = found if found is not None else (None, 0)
        id = secrets.token_hex(8)
        digest, frames = hashlib.sha256(), 0
        async with aclosing(snapshot.blocks()) as blocks:  # before the file is closed, also when this is broken off
            async for block in blocks:
                data = await asyncio.to_thread(_packed, block)
                for start in range(0, len(data), PIECE_BYTES):
                    piece = data[start : start + PIECE_BYTES]
                    headers = {MORE: "1"} if start + PIECE_BYTES < len(data) else {}
                    await self._connection.request(f"{self._subject}.{id}", piece, headers or None, seconds=10.0)
                    digest.update(piece)
                    frames += 1
        manifest = Manifest(
            FORMAT,
            epoch,
            id,
            snapshot.place,
            snapshot.id.hex(),
            frames,
            digest.hexdigest(),
            self._gateway,
            now(),
            "" if before is None else before.id,
            before.place if before is not None and before.epoch == epoch else 0,
        )
        try:
            await self._connection.request(
                f"{self._subject}.manifest",
                msgspec.msgpack.encode(manifest),
                {"Nats-Expected-Last-Subject-Sequence": str(expected)},
                seconds=10.0,
            )
        except Refused as refused:
            if refused.code != WRONG_LAST:
                raise
            await self._purge(self.stream, {"filter": f"{self._subject}.{id}"})
            return None
        await self._compact(manifest)
        return manifest

    async def _compact(self, manifest: Manifest) -> None:
        """Remove the log up to the checkpoint before, and all that is of neither of the two."""
        if manifest.before_place:
            await self._purge(self._log_stream, {"seq": manifest.before_place + 1})
        info = await self._connection.api(f"STREAM.INFO.{self.stream}", {"subjects_filter": f"{self._subject}.>"})
        kept = {f"{self._subject}.{id}" for id in ("manifest", manifest.id, manifest.before)}
        for subject in info["state"].get("subjects") or {}:
            if subject not in kept:
                await self._purge(self.stream, {"filter": subject})
        await self._purge(self.stream, {"filter": f"{self._subject}.manifest", "keep": 2})

    async def _purge(self, stream: str, what: Mapping[str, Any]) -> None:
        await self._connection.api(f"STREAM.PURGE.{stream}", what, seconds=10.0)


def _packed(block: Block) -> bytes:
    """A block as it is stored. That of 10,000 changes takes 45 to 100 ms: not on the event loop."""
    return zlib.compress(msgspec.msgpack.encode(block), 1)
