"""RFC 6455, class by class as the Autobahn test suite has them, over real sockets.

The shell takes whole text frames itself and hands all others to a library, so each class is tried through both, cut by
TCP and by fragments. The gateway is not an echo server, so the `requestId` takes the place of the suite's echoed text.
One deviation: binary messages are refused (1003).
Single cases of most classes are in `test_frames` too, among what the gateway adds to the RFC.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.gate.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INFO,
    MALFORMED,
    PING,
    PONG,
    TEXT,
    Wire,
    frame,
    opened,
    upgrade,
)
from tests.gate.wire import dial as dialled
from tests.running import RunningGateway

MESSAGE_BYTES = 1 << 20

Cut = Callable[[bytes], list[bytes]]


def request(size: int) -> bytes:
    """A request of so many bytes."""
    return INFO + b" " * (size - len(INFO))


def octets(data: bytes) -> list[bytes]:
    """Each byte for itself."""
    return [data[index : index + 1] for index in range(len(data))]


def fragments(message: bytes, size: int) -> bytes:
    """Frames that make one message, each with at most so many bytes."""
    pieces = [message[index : index + size] for index in range(0, len(message), size)]
    middle = b"".join(frame(piece, CONTINUATION, fin=False) for piece in pieces[1:-1])
    return frame(pieces[0], fin=False) + middle + frame(pieces[-1], CONTINUATION)


def still_open(wire: Wire) -> bool:
    """Whether the next request is answered."""
    wire.send(frame(INFO))
    return bool(wire.answer()["status"] == "success")


def say(code: int, reason: bytes = b"") -> bytes:
    """A close frame."""
    return frame(code.to_bytes(2) + reason, CLOSE)


CUTS: dict[str, Cut] = {
    "whole": lambda message: [frame(message)],
    "chopped": lambda message: octets(frame(message)),
    "fragments": lambda message: [fragments(message, 1)],
    "chopped-fragments": lambda message: octets(fragments(message, 1)),
}
"""Ways for a message of two bytes or more to come."""


# 1: framing.


@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 127, 128, 65_535, 65_536])
def test_text_of_every_length_of_head(wire: Wire, size: int) -> None:
    """1.1.1-1.1.8: a text on either side of each form of length is answered."""
    wire.send(frame(request(size) if size > len(INFO) else b" " * size))
    answer = wire.answer()
    assert answer["status"] == "success" if size > len(INFO) else answer == MALFORMED
    assert still_open(wire)


@pytest.mark.parametrize("size", [125, 126, 127, 128, 1_000])
def test_text_octet_by_octet(wire: Wire, size: int) -> None:
    """1.1.1-1.1.8: so is one that comes octet by octet from its first to its last."""
    wire.send(*octets(frame(request(size))))
    assert wire.answer()["status"] == "success"
    assert still_open(wire)


@pytest.mark.parametrize("size", [64, 997])
def test_a_long_text_in_small_segments(wire: Wire, size: int) -> None:
    """1.1.8: 64 KiB in segments of an odd size."""
    sent = frame(request(65_536))
    wire.send(*(sent[index : index + size] for index in range(0, len(sent), size)))
    assert wire.answer()["status"] == "success"
    assert still_open(wire)


@pytest.mark.parametrize("size", [0, 125, 126, 127, 128, 65_535, 65_536])
def test_binary_of_every_length_of_head(wire: Wire, size: int) -> None:
    """1.2.1-1.2.8: binary messages are not supported, whatever their length."""
    wire.send(frame(b"\xfe" * size, BINARY))
    assert wire.closed()[0] == 1003


@pytest.mark.parametrize("size", [64, 125, 126, 65_535])
@pytest.mark.parametrize("form", [126, 127])
def test_a_length_in_a_longer_form_than_it_needs(wire: Wire, size: int, form: int) -> None:
    """Section 5.2 wants the shortest form of a client; a longer one is either understood or a protocol error."""
    whole = frame(request(size))
    mask_and_payload = whole[-size - 4 :]
    wire.send(bytes([0x81, 0x80 | form]) + size.to_bytes(2 if form == 126 else 8) + mask_and_payload)
    opcode, payload = wire.frame()
    if opcode == TEXT:
        assert json.loads(payload)["status"] == "success"
        assert still_open(wire)
    else:
        assert (opcode, payload[:2]) == (CLOSE, (1002).to_bytes(2))


# 2: pings and pongs.


@pytest.mark.parametrize("payload", [b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125])
@pytest.mark.parametrize("cut", [octets, lambda sent: [sent]], ids=["chopped", "whole"])
def test_a_ping_comes_back(wire: Wire, payload: bytes, cut: Cut) -> None:
    """2.1-2.4, 2.6: with any payload that is allowed, text or not, in one piece or octet by octet."""
    wire.send(*cut(frame(payload, PING)))
    assert wire.frame() == (PONG, payload)
    assert still_open(wire)


@pytest.mark.parametrize("opcode", [PING, PONG])
@pytest.mark.parametrize("size", [126, 65_536])
def test_a_ping_or_pong_that_is_too_long(wire: Wire, opcode: int, size: int) -> None:
    """2.5: over 125 bytes are a protocol error."""
    wire.send(frame(b"\xfe" * size, opcode))
    assert wire.closed()[0] == 1002


@pytest.mark.parametrize("payload", [b"", b"unsolicited pong payload", b"\xff" * 125])
def test_pongs_that_nobody_asked_for(wire: Wire, payload: bytes) -> None:
    """2.7-2.9: they are ignored, and the ping behind them is answered."""
    wire.send(frame(payload, PONG) * 3 + frame(b"ping payload", PING))
    assert wire.frame() == (PONG, b"ping payload")
    assert still_open(wire)


@pytest.mark.parametrize("cut", [octets, lambda sent: [sent]], ids=["chopped", "whole"])
def test_many_pings(wire: Wire, cut: Cut) -> None:
    """2.10, 2.11: each of many pings is answered, in their order."""
    wire.send(*cut(b"".join(frame(b"payload-%d" % n, PING) for n in range(100))))
    assert [wire.frame() for _ in range(100)] == [(PONG, b"payload-%d" % n) for n in range(100)]


# 3 and 4: reserved bits, reserved opcodes.


@pytest.mark.parametrize("reserved", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
def test_reserved_bits(wire: Wire, opcode: int, reserved: int) -> None:
    """3.1-3.7: the message before is answered, then 1002; a ping behind is not answered."""
    wire.send(frame(INFO) + frame(b"", opcode, reserved=reserved) + frame(b"", PING))
    assert wire.answer()["status"] == "success"
    assert wire.closed()[0] == 1002
    wire.send(say(1002))
    assert wire.ended()


def test_reserved_bits_octet_by_octet(wire: Wire) -> None:
    """3.4: the message before is answered though nothing but single octets comes."""
    wire.send(*octets(frame(INFO)))
    assert wire.answer()["status"] == "success"
    wire.send(*octets(frame(b"Hello, world!", reserved=4)))
    assert wire.closed()[0] == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved opcode payload"], ids=["empty", "payload"])
def test_reserved_opcodes(wire: Wire, opcode: int, payload: bytes) -> None:
    """4.1.1-4.2.5: the message before is answered, then 1002; a ping behind is not answered."""
    wire.send(frame(INFO) + frame(payload, opcode) + frame(b"", PING))
    assert wire.answer()["status"] == "success"
    assert wire.closed()[0] == 1002
    wire.send(say(1002))
    assert wire.ended()


# 5: fragmentation.


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_a_control_frame_in_fragments(wire: Wire, opcode: int) -> None:
    """5.1, 5.2: control frames are never fragmented."""
    wire.send(frame(b"fragment1", opcode, fin=False) + frame(b"fragment2", CONTINUATION))
    assert wire.closed()[0] == 1002


@pytest.mark.parametrize("cut", [octets, lambda sent: [sent]], ids=["chopped", "whole"])
def test_pings_between_fragments(wire: Wire, cut: Cut) -> None:
    """5.3-5.8, 5.19, 5.20: pongs come before the answer to the message, which is one, and text goes on after it."""
    first, second, third = INFO[:7], INFO[7:20], INFO[20:]
    wire.send(*cut(frame(first, fin=False) + frame(b"one", PING) + frame(second, CONTINUATION, fin=False)))
    assert wire.frame() == (PONG, b"one")
    wire.send(*cut(frame(b"two", PING) + frame(b"pong", PONG) + frame(third, CONTINUATION)))
    assert wire.frame() == (PONG, b"two")
    assert wire.answer()["requestId"] == 1
    assert still_open(wire)


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("cut", [octets, lambda sent: [sent]], ids=["chopped", "whole"])
def test_a_continuation_of_nothing(wire: Wire, fin: bool, cut: Cut) -> None:
    """5.9-5.14: without a message that was begun there is nothing to continue."""
    wire.send(*cut(frame(b"non-continuation payload", CONTINUATION, fin=fin)))
    assert wire.closed()[0] == 1002


@pytest.mark.parametrize("fin", [True, False])
def test_a_continuation_after_the_last_fragment(wire: Wire, fin: bool) -> None:
    """5.15-5.17: a continuation after a complete message is an error; the message is answered."""
    wire.send(fragments(INFO, 9) + frame(b"fragment", CONTINUATION, fin=fin) + frame(INFO))
    assert wire.answer()["requestId"] == 1
    assert wire.closed()[0] == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("cut", [octets, lambda sent: [sent]], ids=["chopped", "whole"])
def test_a_new_message_inside_of_another(wire: Wire, opcode: int, fin: bool, cut: Cut) -> None:
    """5.18: the fragments of a message come one after the other."""
    wire.send(frame(b"fragment1", fin=False), *cut(frame(b"fragment2", opcode, fin=fin)))
    assert wire.closed()[0] == 1002


def test_answers_and_pongs_keep_their_order(wire: Wire) -> None:
    """5.3, 5.6, 5.19: in one segment too, the pong to a ping stands where the ping stood among the messages."""
    wire.send(frame(INFO) + frame(b"one", PING) + frame(INFO[:9], fin=False) + frame(b"two", PING))
    wire.send(frame(INFO[9:], CONTINUATION) + frame(INFO) + frame(b"three", PING))
    kinds = [payload if opcode == PONG else opcode for opcode, payload in (wire.frame() for _ in range(6))]
    assert kinds == [TEXT, b"one", b"two", TEXT, TEXT, b"three"]


def test_a_binary_message_in_fragments(wire: Wire) -> None:
    """5.9-5.14 with binary data: the first fragment is enough for 1003."""
    wire.send(frame(b"fragment1", BINARY, fin=False) + frame(b"", PING) + frame(b"fragment2", CONTINUATION))
    opcode, payload = wire.frame()
    while opcode == PONG:  # the library answers a ping as long as it has not closed
        opcode, payload = wire.frame()
    assert (opcode, payload[:2]) == (CLOSE, (1003).to_bytes(2))


# 6: UTF-8.

VALID = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\x00\x01",
    "\x7f\x80",
    "\u07ff\u0800",
    "\ud7ff\ue000",
    "\ufffd\ufffe\uffff",
    "\U00010000\U0001fffe\U0010fffe\U0010ffff",
    "\ufdd0\ufdef",
    "\ufeff€😀",
]
INVALID = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\x80",
    b"\xbf\x80",
    bytes(range(0x80, 0xC0)),
    b"\xc0 \xc1 ",
    b"\xe0 \xef ",
    b"\xf0 \xf7 ",
    b"\xf8 \xfd ",
    b"\xc3(",
    b"\xe2\x82(",
    b"\xf0\x9f\x98(",
    b"\xfe",
    b"\xff\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xed\xad\xbf",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
]
UNFINISHED = [b"\xce", b"\xe1\xbd", b"\xf0\x9f\x98", b"\xf4\x8f\xbf", b"\xdf", b"\xef\xbf"]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("text", VALID, ids=ascii)
def test_valid_utf_8(wire: Wire, text: str, cut: str) -> None:
    """6.1, 6.2, 6.5, 6.7, 6.9, 6.11, 6.22, 6.23: valid text comes back, however it was cut."""
    wire.send(*CUTS[cut](json.dumps({"action": "server/info", "requestId": text}, ensure_ascii=False).encode()))
    assert wire.answer()["requestId"] == text
    assert still_open(wire)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("payload", INVALID + UNFINISHED, ids=bytes.hex)
def test_invalid_utf_8(wire: Wire, payload: bytes, cut: str) -> None:
    """6.3, 6.6, 6.8, 6.10, 6.12-6.21: invalid and unfinished text closes with 1007, however it was cut."""
    wire.send(*CUTS[cut](INFO + payload))
    assert wire.closed() == (1007, "text that is not UTF-8")


@pytest.mark.parametrize("payload", INVALID, ids=bytes.hex)
def test_invalid_utf_8_fails_fast(wire: Wire, payload: bytes) -> None:
    """6.4.1, 6.4.2: the fragment with the first impossible byte is enough; the end of the message need not come."""
    wire.send(frame("κόσμε".encode(), fin=False), frame(payload, CONTINUATION, fin=False))
    assert wire.closed()[0] == 1007


@pytest.mark.parametrize("payload", [b"\xce", b"\xe1\xbd", b"\xf0\x9f\x98"], ids=bytes.hex)
def test_an_incomplete_character_is_not_an_error_yet(wire: Wire, payload: bytes) -> None:
    """6.4, 6.6: bytes that may still become a character are kept; the ping in between shows that nothing is closed."""
    wire.send(frame(payload, fin=False) + frame(b"", PING))
    assert wire.frame() == (PONG, b"")
    wire.send(frame(b"", CONTINUATION, fin=False) + frame(b"", PING))
    assert wire.frame() == (PONG, b"")
    wire.send(frame(b"x", CONTINUATION, fin=False))
    assert wire.closed()[0] == 1007


# 7: closing.


@pytest.mark.parametrize("behind", [frame(INFO), frame(b"", PING), say(1000), frame(b"x", BINARY), frame(b"", 3)])
@pytest.mark.parametrize("cut", [octets, lambda sent: [sent]], ids=["chopped", "whole"])
def test_nothing_counts_after_my_close_frame(wire: Wire, behind: bytes, cut: Cut) -> None:
    """7.1.1-7.1.4: the echo of the client's close frame is the last frame, whatever follows it."""
    wire.send(*cut(frame(INFO) + say(1000, b"bye") + behind))
    assert wire.answer()["status"] == "success"
    assert wire.frame() == (CLOSE, (1000).to_bytes(2) + b"bye")
    assert wire.ended()


def test_my_close_frame_octet_by_octet(wire: Wire) -> None:
    """7.1.1: it is echoed after its last octet."""
    wire.send(*octets(frame(INFO) + say(1000, b"bye")))
    assert wire.answer()["status"] == "success"
    assert wire.frame() == (CLOSE, (1000).to_bytes(2) + b"bye")
    assert wire.ended()


def test_a_close_frame_inside_of_a_message(wire: Wire) -> None:
    """7.1.5: it is obeyed at once, and the message is never answered."""
    wire.send(frame(INFO[:9], fin=False) + say(1000) + frame(INFO[9:], CONTINUATION))
    assert wire.closed() == (1000, "")
    assert wire.ended()


def test_a_large_message_before_my_close_frame(wire: Wire) -> None:
    """7.1.6: 256 KiB are answered before the close frame is echoed; the ping behind is not."""
    wire.send(frame(request(1 << 18)) + say(1000) + frame(b"", PING))
    assert wire.answer()["status"] == "success"
    assert wire.closed() == (1000, "")
    assert wire.ended()


@pytest.mark.parametrize("payload", [b"", (1000).to_bytes(2), (1000).to_bytes(2) + "€".encode() * 41])
def test_a_close_frame_of_every_length(wire: Wire, payload: bytes) -> None:
    """7.3.1, 7.3.3-7.3.5: empty, a code alone, and a reason of up to 123 bytes."""
    wire.send(frame(payload, CLOSE))
    opcode, echoed = wire.frame()
    assert (opcode, echoed[:2]) == (CLOSE, payload[:2])
    assert wire.ended()


@pytest.mark.parametrize("payload", [b"\x03", (1000).to_bytes(2) + b"x" * 124], ids=["1", "126"])
def test_a_close_frame_of_a_wrong_length(wire: Wire, payload: bytes) -> None:
    """7.3.2, 7.3.6: a single byte, and one more than a control frame may have."""
    wire.send(frame(payload, CLOSE))
    assert wire.closed()[0] == 1002


@pytest.mark.parametrize("reason", INVALID[:8] + UNFINISHED[:2], ids=bytes.hex)
def test_a_close_reason_that_is_not_utf_8(wire: Wire, reason: bytes) -> None:
    """7.5.1: the reason is text as well."""
    wire.send(say(1000, reason))
    assert wire.closed()[0] in (1002, 1007)
    wire.send(say(1000))
    assert wire.ended()


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_a_valid_close_code_is_echoed(wire: Wire, code: int) -> None:
    """7.7.1-7.7.13: the codes of the RFC, those registered since, and those for libraries and applications."""
    wire.send(say(code))
    assert wire.closed() == (code, "")
    assert wire.ended()


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
@pytest.mark.parametrize("reason", [b"", b"reason"])
def test_an_invalid_close_code(wire: Wire, code: int, reason: bytes) -> None:
    """7.9.1-7.9.9, 7.13: codes that nobody may send."""
    wire.send(say(code, reason))
    assert wire.closed()[0] == 1002
    wire.send(say(1002))
    assert wire.ended()


@pytest.mark.parametrize("count", [1, 5_000, 20_001])
def test_the_close_handshake_ends_after_many_ignored_bytes(wire: Wire, count: int) -> None:
    """7.1.6 in the other direction: the peer's close frame is found after earlier input, without a timeout."""
    wire.send(frame(b"x", BINARY) + frame(INFO) * count)
    assert wire.closed()[0] == 1003
    wire.send(say(1003))
    assert wire.ended()


@pytest.mark.parametrize("count", [1, 2_000])
def test_the_close_handshake_ends_after_pending_answers_too(
    shared_gateway: RunningGateway, admin_token: str, count: int
) -> None:
    """The protocol error and half a frame after it arrive while a put is being written."""
    put = b'{"action":"configuration/put","name":"conformance.close","value":"v"}'
    with opened(shared_gateway, admin_token) as wire:
        wire.send(frame(put) + frame(b"\xff") + frame(INFO) * count + frame(INFO)[:9])
        assert wire.answer()["status"] == "success"
        assert wire.closed()[0] == 1007
        wire.send(frame(INFO)[9:] + say(1007))
        assert wire.ended()


# 9: sizes.


@pytest.mark.parametrize("size", [1 << 16, 1 << 18, MESSAGE_BYTES])
def test_large_messages(wire: Wire, size: int) -> None:
    """9.1, 9.7: up to the limit, and answered."""
    wire.send(frame(request(size)))
    assert wire.answer()["status"] == "success"
    assert still_open(wire)


@pytest.mark.parametrize("size", [256, 1 << 10, 1 << 14, 1 << 18, MESSAGE_BYTES - 1])
def test_the_largest_message_in_fragments(wire: Wire, size: int) -> None:
    """9.3: fragments of any size make a message of up to the limit."""
    wire.send(fragments(request(MESSAGE_BYTES), size))
    assert wire.answer()["status"] == "success"
    assert still_open(wire)


def test_control_frames_do_not_count_to_the_size_of_a_message(wire: Wire) -> None:
    """5.4 of RFC 6455: a full ping may stand before the last bytes of the largest message."""
    whole = request(MESSAGE_BYTES)
    wire.send(frame(whole[:-9], fin=False) + frame(b"p" * 125, PING) + frame(whole[-9:], CONTINUATION))
    assert wire.frame() == (PONG, b"p" * 125)
    assert wire.answer()["status"] == "success"
    assert still_open(wire)


@pytest.mark.parametrize("size", [MESSAGE_BYTES // 2, MESSAGE_BYTES])
def test_one_byte_over_the_limit_in_fragments(wire: Wire, size: int) -> None:
    """9.3 and beyond: the limit is for the message, not for the frame."""
    wire.send(fragments(request(MESSAGE_BYTES + 1), size))
    assert wire.closed()[0] == 1009


@pytest.mark.parametrize("size", [128, 1 << 10])
def test_a_large_message_in_small_segments(wire: Wire, size: int) -> None:
    """9.5: 256 KiB, a few bytes at a time."""
    sent = frame(request(1 << 18))
    wire.send(*(sent[index : index + size] for index in range(0, len(sent), size)))
    assert wire.answer()["status"] == "success"


# 10: messages that a client's library cuts by itself.


@pytest.mark.parametrize("size", [1_300, 65_535])
def test_automatic_fragments(wire: Wire, size: int) -> None:
    """10.1.1: two messages of 64 KiB in fragments of 1300 bytes, a whole one between them."""
    long = fragments(request(65_536), size)
    wire.send(long + frame(INFO) + long)
    assert [wire.answer()["status"] for _ in range(3)] == ["success"] * 3


# 12 and 13: compression.

OFFERS = [
    "permessage-deflate",
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
    "permessage-deflate; server_max_window_bits=15, permessage-deflate",
    "x-webkit-deflate-frame, permessage-bzip2",
]


@pytest.mark.parametrize("offer", OFFERS)
def test_compression_is_declined(shared_gateway: RunningGateway, offer: str) -> None:
    """12, 13: whatever is offered, nothing is agreed on; plain messages are answered, a compressed one is 1002."""
    with dialled(shared_gateway) as wire:
        wire.send(upgrade().replace(b"\r\n\r\n", f"\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n".encode()))
        status, headers = wire.head()
        assert status == 101
        assert "sec-websocket-extensions" not in headers
        assert still_open(wire)
        wire.send(frame(b"\xaa\x56\x4a\x4c", reserved=4))
        assert wire.closed()[0] == 1002


def test_a_compressed_message_in_fragments(wire: Wire) -> None:
    """12, 13: the bit of compression is refused in the first fragment already."""
    wire.send(frame(b"\xaa\x56", fin=False, reserved=4) + frame(b"\x4a\x4c", CONTINUATION))
    assert wire.closed()[0] == 1002
