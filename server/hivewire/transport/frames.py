"""WebSocket frames (RFC 6455, section 5): a Sans-I/O parser for frames of clients, an encoder for frames of servers.

Bytes go in, in pieces of any size, and events come out. The events do not depend on how the bytes are split. Nothing
here uses sockets or clocks, or depends on the content of messages.
"""

from __future__ import annotations

import codecs
from typing import TypeAlias

from msgspec import Struct
from websockets.exceptions import ProtocolError
from websockets.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, Frame
from websockets.frames import Close as CloseFrame
from websockets.frames import apply_mask as apply_mask  # type: ignore[attr-defined]  # the C one where it was built

from hivewire_protocol.close import TABLE, Code

FIN = 0x80
"""Bit of the first byte: this frame ends its message."""

MASKED = 0x80
"""Bit of the second byte: the payload is masked, as every frame of a client must be (section 5.1)."""

LONG = MASKED | 126
"""Smallest second byte of a masked frame whose length is in further bytes (section 5.2)."""

SHORT_LENGTHS = [length - MASKED if MASKED <= length < LONG else 1 << 63 for length in range(256)]
"""The length of a short masked payload by the second byte of its frame. For other frames it is larger than any input,
so that one comparison excludes them from the fast path."""

WHOLE_TEXT = FIN | TEXT
"""First byte of a text frame that is a complete message, like nearly all frames of clients."""

OPCODE, RESERVED = 0x0F, 0x70
"""Bits of the first byte: the kind of frame, and those reserved for extensions."""

CONTROL = 0x08
"""The bit of an opcode that marks control frames: close, ping and pong."""

OPCODES = frozenset({CONT, TEXT, BINARY, CLOSE, PING, PONG})

CONTROL_BYTES = 125
"""The largest payload of a control frame (section 5.5)."""

_Utf8 = codecs.getincrementaldecoder("utf-8")


class Ping(Struct, gc=False):
    """A ping; the pong has to have the same payload (section 5.5.2)."""

    payload: bytes


class Pong(Struct, gc=False):
    """A pong: the answer to a ping, or an unsolicited heartbeat (section 5.5.3)."""


class Close(Struct, gc=False):
    """The peer's close frame (section 5.5.1). The answer to it carries the same payload."""

    payload: bytes


class Rejected(Struct, gc=False):
    """A well-formed message that is not accepted. The connection is closed with the close handshake, so the peer's
    close frame is still read."""

    code: Code


class Failure(Struct, gc=False):
    """A protocol error, after which nothing more is read (section 7.1.7)."""

    code: Code
    reason: str


Event: TypeAlias = "bytes | Ping | Pong | Close | Rejected | Failure"
"""Bytes are a text message: complete, unmasked, valid UTF-8."""


class FrameReader:
    """Parses the frames of one client. `limit` is the largest message in bytes, fragmented or not.

    After a Close or a Failure nothing is parsed any more. After a Rejected, and after `only_close`, messages of
    any size are skipped without buffering them; only the peer's close frame and protocol errors become events.
    """

    __slots__ = (
        "_fragments",
        "_limit",
        "_needed",
        "_only_close",
        "_plain",
        "_skip",
        "_tail",
        "_utf8",
        "ended",
        "renewed",
        "unfinished",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail: bytearray | None = None  # an incomplete frame
        self._needed = 0  # size of `_tail` at which parsing continues
        self._skip = 0  # missing bytes of a skipped message
        self._fragments: bytearray | None = None  # the payloads so far of an incomplete message
        self._utf8: codecs.IncrementalDecoder | None = None
        self._only_close = False
        self._plain = True  # nothing is unfinished, and text messages are read
        self.ended = False
        """Whether parsing has ended."""
        self.unfinished = False
        """Whether a message or a frame has begun and is not complete."""
        self.renewed = False
        """Set when a message was completed: an unfinished one has begun after it. The owner resets it."""

    @property
    def held(self) -> int:
        """Bytes in memory of an unfinished message or frame."""
        return len(self._tail or b"") + len(self._fragments or b"")

    @property
    def announced(self) -> int:
        """The known size of an unfinished message, with the header of its last frame."""
        return len(self._fragments or b"") + (self._needed if self._tail is not None else 0)

    def only_close(self) -> None:
        """Skip messages from now on: our close frame is sent, and only the peer's is expected (section 5.5.1)."""
        self._only_close = True
        self._fragments = self._utf8 = None
        self._update()

    def end(self) -> None:
        """Stop parsing, and free the memory."""
        self.ended = True
        self._tail = self._fragments = self._utf8 = None
        self._skip = 0
        self._update()

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete, in order."""
        if not self._plain:
            data = self._resume(data)
        events: list[Event] = []
        position, size, plain = 0, len(data), self._plain
        while position < size:
            # Nearly all frames are complete text messages below 64 KiB. The first byte excludes fragments, reserved
            # bits and control frames, and ASCII is valid UTF-8, so they need no further checks.
            start = position + 6
            if plain and start <= size and data[position] == WHOLE_TEXT:
                end = start + SHORT_LENGTHS[data[position + 1]]
                if end > size and data[position + 1] == LONG:  # the length is in the next two bytes
                    length = data[position + 2] << 8 | data[position + 3]
                    if length <= self._limit:
                        start += 2
                        end = start + length
                if end <= size:
                    payload = apply_mask(data[start:end], data[start - 4 : start])
                    if payload.isascii():
                        events.append(payload)
                        self.renewed = True
                        position = end
                        continue
            position = self._frame(data, position, events)
            plain = self._plain
        return events

    def _resume(self, data: bytes) -> bytes:
        """The bytes to parse, with those kept from before; none while an incomplete frame is still incomplete."""
        if self.ended:
            return b""
        if self._tail is not None:
            # Not parsed before all of it has come: a large message in small pieces would be parsed once for each.
            self._tail += data
            if len(self._tail) < self._needed:
                return b""
            data, self._tail = bytes(self._tail), None
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._update()
        return data[skipped:]

    def _update(self) -> None:
        self.unfinished = self._tail is not None or self._fragments is not None or self._skip > 0
        self._plain = not (self.unfinished or self._only_close or self.ended)

    def _frame(self, data: bytes, position: int, events: list[Event]) -> int:
        """Parse the frame at `position`, of any kind, and return the position of the next one.

        An incomplete frame is kept, or skipped if it belongs to a skipped message.
        """
        size = len(data)
        if size - position < 2:
            return self._keep(data, position, position + 2)
        first, second = data[position], data[position + 1]
        if (mistake := self._mistake(first, second)) is not None:
            return self._fail(Code.PROTOCOL_ERROR, mistake, events, size)
        # The payload follows the length, which may have 2 or 8 more bytes, and the mask (section 5.2).
        length, start = second & 0x7F, position + 6
        # A length that could have been written shorter is accepted: the RFC forbids it to senders only.
        if length >= 126:
            start += 2 if length == 126 else 8
            if start <= size:
                length = int.from_bytes(data[position + 2 : start - 4])
        if start > size:
            return self._keep(data, position, start)
        # Checked by the header, before any payload is buffered: a peer cannot fill memory by announcing a large frame.
        if (code := self._excess(first & OPCODE, length)) is not None:
            return self._fail(code, TABLE[code].reason, events, size)
        end = start + length
        if end > size and self._only_close and not first & CONTROL:
            self._skip = end - size
        elif end > size:
            return self._keep(data, position, end)
        else:
            self._take(first, apply_mask(data[start:end], data[start - 4 : start]), events)
        self._update()
        return size if self.ended else min(end, size)

    def _keep(self, data: bytes, position: int, end: int) -> int:
        """Keep an incomplete frame until the bytes up to `end` have arrived."""
        self._tail = bytearray(data[position:])
        self._needed = end - position
        self._update()
        return len(data)

    def _fail(self, code: Code, reason: str, events: list[Event], size: int) -> int:
        self.end()
        events.append(Failure(code, reason))
        return size

    def _refuse(self, code: Code) -> Rejected:
        self.only_close()
        return Rejected(code)

    def _mistake(self, first: int, second: int) -> str | None:
        """The protocol error in the first two bytes of a frame; None if there is none."""
        opcode = first & OPCODE
        if first & RESERVED:
            return "reserved bits must be 0"  # no extension was negotiated (section 5.2)
        if opcode not in OPCODES:
            return "invalid opcode"
        if second < MASKED:
            return "incorrect masking"
        if opcode & CONTROL:
            return None if first & FIN else "fragmented control frame"  # section 5.4
        if self._only_close:  # messages are skipped frame by frame, so their fragments are not tracked
            return None
        if opcode == CONT:
            return "unexpected continuation frame" if self._fragments is None else None
        return "expected a continuation frame" if self._fragments is not None else None

    def _excess(self, opcode: int, length: int) -> Code | None:
        """The close code for a frame that is too large or makes its message too large; None for other frames."""
        if opcode & CONTROL:
            return Code.PROTOCOL_ERROR if length > CONTROL_BYTES else None
        if self._only_close or length + len(self._fragments or b"") <= self._limit:
            return None
        return Code.TOO_LARGE

    def _take(self, first: int, payload: bytes, events: list[Event]) -> None:
        """Add the events of a complete, valid frame."""
        opcode = first & OPCODE
        if opcode == CLOSE:
            events.append(self._close(payload))
        elif self._only_close:
            return
        elif first == WHOLE_TEXT:
            self.renewed = True
            events.append(payload if payload.isascii() or _is_utf8(payload) else self._refuse(Code.INVALID_TEXT))
        elif opcode in (TEXT, CONT):
            self._fragment(payload, first & FIN != 0, events)
        elif opcode == BINARY:
            events.append(self._refuse(Code.UNSUPPORTED_DATA))
        else:
            self.renewed = self.renewed or self._fragments is None
            events.append(Ping(payload) if opcode == PING else Pong())

    def _close(self, payload: bytes) -> Close | Failure:
        """The event of the peer's close frame, which may come between fragments (section 5.4)."""
        self.end()
        try:
            CloseFrame.parse(payload)
        except ProtocolError as error:
            return Failure(Code.PROTOCOL_ERROR, str(error))
        except UnicodeDecodeError as error:
            return Failure(Code.INVALID_TEXT, f"{error.reason} at position {error.start}")
        return Close(payload)

    def _fragment(self, payload: bytes, last: bool, events: list[Event]) -> None:
        """Join fragments in one buffer, so that empty ones take no memory; refuse a message at its first invalid byte.

        A character may be split between frames, so the decoder is incremental (section 8.1).
        """
        if self._fragments is None or self._utf8 is None:
            self._fragments, self._utf8 = bytearray(), _Utf8()
        try:
            self._utf8.decode(payload, last)
        except UnicodeDecodeError:
            events.append(self._refuse(Code.INVALID_TEXT))
            return
        # After the check: a peer that sends garbage fills no memory with it.
        self._fragments += payload
        if last:
            message, self._fragments, self._utf8 = bytes(self._fragments), None, None
            self.renewed = True
            events.append(message)


def _is_utf8(data: bytes) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


# Frames of a server: unmasked (section 5.1), never fragmented.


def text_head(size: int) -> bytes:
    """The header of a frame with a text message of `size` bytes (section 5.2)."""
    if size < 126:
        return bytes((WHOLE_TEXT, size))
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2)
    return b"\x81\x7f" + size.to_bytes(8)


TEXT_HEADS = [text_head(size) for size in range(1_024)]
"""Prepared headers for the sizes of nearly all answers."""


def ping() -> bytes:
    """A ping without a payload."""
    return Frame(PING, b"").serialize(mask=False)


def pong(payload: bytes) -> bytes:
    """The answer to a ping."""
    return Frame(PONG, payload).serialize(mask=False)


def close(code: Code, reason: str) -> bytes:
    """A close frame of our own."""
    return Frame(CLOSE, CloseFrame(code, reason).serialize()).serialize(mask=False)


def closed(payload: bytes) -> bytes:
    """The answer to the peer's close frame, with the same payload."""
    return Frame(CLOSE, payload).serialize(mask=False)
