"""The frame reader, without sockets: every case whole, octet by octet, and with garbage behind it (RFC 6455)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire.transport import frames
from hivewire.transport.frames import Close, Event, Failure, FrameReader, Ping, Pong, Rejected, text_head
from hivewire_protocol.close import Code
from tests.gate.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

LIMIT = 1_000


def read(pieces: Iterable[bytes], limit: int = LIMIT) -> list[Event]:
    """All events of these pieces."""
    reader = FrameReader(limit)
    return [event for piece in pieces for event in reader.feed(piece)]


def octets(data: bytes) -> list[bytes]:
    """Each by itself."""
    return [data[index : index + 1] for index in range(len(data))]


GOOD: list[tuple[bytes, list[Event]]] = [
    (frame(b""), [b""]),
    (frame(b"a"), [b"a"]),
    (frame(b"a" * 125) + frame(b"b" * 126) + frame(b"c" * LIMIT), [b"a" * 125, b"b" * 126, b"c" * LIMIT]),
    (frame("é\U0001f600".encode()), ["é\U0001f600".encode()]),
    (frame("é".encode() * 63) + frame("é".encode() * 500), ["é".encode() * 63, "é".encode() * 500]),
    (frame(b"a", fin=False) + frame(b"b", CONTINUATION), [b"ab"]),
    (frame(b"", fin=False) + frame(b"", CONTINUATION, fin=False) + frame(b"", CONTINUATION), [b""]),
    (frame("é".encode()[:1], fin=False) + frame("é".encode()[1:], CONTINUATION), ["é".encode()]),
    (frame(b"a", fin=False) + frame(b"p", PING) + frame(b"b", CONTINUATION), [Ping(b"p"), b"ab"]),
    (frame(b"p" * 125, PING) + frame(b"q", PONG) + frame(b"a"), [Ping(b"p" * 125), Pong(), b"a"]),
]

LAST: list[tuple[bytes, Event]] = [
    (frame(b"", CLOSE), Close(b"")),
    (frame(b"\x03\xe8bye", CLOSE), Close(b"\x03\xe8bye")),
    (frame(b"a", fin=False) + frame(b"", CLOSE), Close(b"")),
    (frame(b"\x03", CLOSE), Failure(Code.PROTOCOL_ERROR, "close frame too short")),
    (frame(b"\x03\xec", CLOSE), Failure(Code.PROTOCOL_ERROR, "invalid status code")),
    (frame(b"\x03\xe8\xff", CLOSE), Failure(Code.INVALID_TEXT, "invalid start byte at position 0")),
    (frame(b"a", reserved=1), Failure(Code.PROTOCOL_ERROR, "reserved bits must be 0")),
    (frame(b"a", 3), Failure(Code.PROTOCOL_ERROR, "invalid opcode")),
    (frame(b"a", 11), Failure(Code.PROTOCOL_ERROR, "invalid opcode")),
    (frame(b"a", masked=False), Failure(Code.PROTOCOL_ERROR, "incorrect masking")),
    (frame(b"a", PING, fin=False), Failure(Code.PROTOCOL_ERROR, "fragmented control frame")),
    (frame(b"a", CONTINUATION), Failure(Code.PROTOCOL_ERROR, "unexpected continuation frame")),
    (frame(b"a", fin=False) + frame(b"b"), Failure(Code.PROTOCOL_ERROR, "expected a continuation frame")),
    (frame(b"a", fin=False) + frame(b"b", BINARY), Failure(Code.PROTOCOL_ERROR, "expected a continuation frame")),
    (frame(b"a" * 126, PING), Failure(Code.PROTOCOL_ERROR, "protocol error")),
    (frame(b"", PONG, announced=1 << 40), Failure(Code.PROTOCOL_ERROR, "protocol error")),
    (frame(b"a" * (LIMIT + 1)), Failure(Code.TOO_LARGE, "message larger than the limit")),
    (frame(b"", announced=LIMIT + 1), Failure(Code.TOO_LARGE, "message larger than the limit")),
    (frame(b"", BINARY, announced=LIMIT + 1), Failure(Code.TOO_LARGE, "message larger than the limit")),
    (
        frame(b"a" * LIMIT, fin=False) + frame(b"b", CONTINUATION),
        Failure(Code.TOO_LARGE, "message larger than the limit"),
    ),
]

SKIPPED: list[tuple[bytes, Code]] = [
    (frame(b"a", BINARY), Code.UNSUPPORTED_DATA),
    (frame(b"a", BINARY, fin=False) + frame(b"b", CONTINUATION), Code.UNSUPPORTED_DATA),
    (frame(b"\xff"), Code.INVALID_TEXT),
    (frame(b"a" * 125 + b"\xff"), Code.INVALID_TEXT),
    (frame(b"a", fin=False) + frame(b"\xff", CONTINUATION, fin=False), Code.INVALID_TEXT),
    (frame("é".encode()[:1], fin=False) + frame(b"", CONTINUATION), Code.INVALID_TEXT),
]


@pytest.mark.parametrize(("data", "events"), GOOD, ids=range(len(GOOD)))
def test_whole_messages_and_control_frames_come_out_in_order(data: bytes, events: list[Event]) -> None:
    """However they are cut, and with the beginning of another frame behind them."""
    assert read([data]) == events
    assert read(octets(data)) == events
    assert read([data, *octets(frame(b"more")[:-1])]) == events


@pytest.mark.parametrize(("data", "event"), LAST, ids=range(len(LAST)))
def test_nothing_is_read_after_a_close_frame_or_an_error(data: bytes, event: Event) -> None:
    """It is the last event, whatever follows: another message, or garbage."""
    for behind in (b"", frame(b"more"), b"\xff" * 40):
        assert read([data + behind])[-1] == event
        assert read([frame(b"before"), *octets(data + behind)])[-1] == event
    assert read([frame(b"before") + data])[0] == b"before"


@pytest.mark.parametrize(("data", "code"), SKIPPED, ids=range(len(SKIPPED)))
def test_after_a_refusal_only_the_close_frame_counts(data: bytes, code: Code) -> None:
    """Messages are skipped without being buffered, also those over the limit; pings are not answered."""
    behind = frame(b"more") + frame(b"p", PING) + frame(b"x" * (5 * LIMIT)) + frame(b"x", BINARY)
    expected = [Rejected(code), Close(b"")]
    assert read([data + behind + frame(b"", CLOSE)]) == expected
    assert read(octets(data + behind + frame(b"", CLOSE))) == expected
    reader = FrameReader(LIMIT)
    reader.feed(data)
    reader.feed(frame(b"x" * 5_000)[:2_000])
    assert (reader.held, reader.unfinished) == (0, True)
    assert reader.feed(b"\xff") == []


def test_an_error_is_noticed_in_the_header_of_a_frame() -> None:
    """An invalid frame is refused when its header has arrived, before its payload."""
    for data in (frame(b"a", masked=False)[:2], frame(b"a", reserved=2)[:2], frame(announced=1 << 40)[:14]):
        assert isinstance(read(octets(data))[-1], Failure)


def test_unfinished_input_is_reported_and_counted() -> None:
    """So it can be limited in time and bytes; whatever ends the connection releases it."""
    reader = FrameReader(LIMIT)
    assert not reader.unfinished
    reader.feed(frame(b"abc", fin=False) + frame(b"defg", CONTINUATION)[:8])
    assert (reader.unfinished, reader.held, reader.renewed) == (True, 3 + 8, False)
    reader.feed(frame(b"defg", CONTINUATION)[8:])
    assert (reader.unfinished, reader.held, reader.renewed) == (False, 0, True)
    reader.feed(frame(b"abc", fin=False) + b"\x81")
    reader.end()
    assert (reader.unfinished, reader.held, reader.feed(frame(b"a"))) == (False, 0, [])


@given(st.lists(st.integers(0, 3 * LIMIT)), st.integers(1, 7_000))
def test_messages_of_any_length_come_out_however_they_are_cut(lengths: list[int], piece: int) -> None:
    """Cut into equal pieces of any size."""
    messages = [b"m" * length for length in lengths]
    data = b"".join(map(frame, messages))
    pieces = [data[start : start + piece] for start in range(0, len(data), piece)]
    assert read(pieces, 3 * LIMIT) == messages


@given(st.binary(max_size=60), st.integers(1, 60))
def test_any_bytes_give_the_same_events_however_they_are_cut(data: bytes, cut: int) -> None:
    """Any bytes give the same events however they are cut, and raise no exception."""
    assert read([data]) == read([data[:cut], data[cut:]]) == read(octets(data))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_the_head_of_a_text_message_is_what_a_client_expects(size: int) -> None:
    """Complete and not masked; a client's parser finds the same length."""
    payload = b"x" * size
    assert text_head(size) + payload == frame(payload, TEXT, masked=False)


def test_the_frames_of_the_protocol_itself() -> None:
    """A ping, a pong, our close frame and the answer to the peer's."""
    assert frames.ping() == frame(b"", PING, masked=False)
    assert frames.pong(b"p") == frame(b"p", PONG, masked=False)
    assert frames.close(Code.GOING_AWAY, "bye") == frame(b"\x03\xe9bye", CLOSE, masked=False)
    assert frames.closed(b"") == frame(b"", CLOSE, masked=False)
