"""WebSocket frames by hand: what is answered, what closes the socket and with which code (RFC 6455)."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

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
    gauge,
    opened,
    until,
)
from tests.running import PASSWORD, RunningGateway, Talk

MESSAGE_BYTES = 1 << 20


def still_open(wire: Wire) -> bool:
    """Whether the next request is answered."""
    wire.send(frame(INFO))
    return bool(wire.answer()["status"] == "success")


# What is inside a message.


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        '{"action":"server/info"} trailing',
        '{"action":"server/info",}',
        "{action:'server/info'}",
        '{"action":"server/info","n":NaN}',
        '{"action":"server/info","n":01}',
        '{"action":"server/info"}{}',
        '{"action":"server/info","n":"\\ud800"',
        '{"action":"server/info","n":"\n"}',
        '\ufeff{"action":"server/info"}',
        "\x00",
        "1",
        '"server/info"',
        "null",
        "true",
    ],
)
def test_text_that_is_not_a_json_object_is_answered_and_the_socket_stays_open(wire: Wire, text: str) -> None:
    """Any text gets `Malformed Json received.` without action and requestId, and the socket stays open."""
    wire.send(frame(text.encode()))
    assert wire.answer() == MALFORMED
    assert still_open(wire)


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"action":"server/info","a":[', '[{"a":'])
def test_nesting_without_end_is_malformed(wire: Wire, opening: str) -> None:
    """A megabyte of opening brackets gets an answer and affects no other client."""
    wire.send(frame((opening * (MESSAGE_BYTES // len(opening))).encode()))
    assert wire.answer()["error"] == "Malformed Json received. It has more than 50,000 elements and members."
    wire.send(frame((opening * 300).encode()))
    assert wire.answer()["error"] == "Malformed Json received. It is nested deeper than 128."
    assert still_open(wire)


def test_nesting_is_allowed_up_to_128(talk: Talk) -> None:
    """A requestId that makes the frame 128 deep comes back as it was; one level more is malformed."""
    deepest = b"[" * 127 + b"]" * 127
    answer = talk.raw(b'{"action":"server/info","requestId":%b}' % deepest)
    assert answer["requestId"] == json.loads(deepest)
    assert talk.raw(b'{"action":"server/info","requestId":[%b]}' % deepest)["error"].startswith("Malformed Json")


def test_brackets_in_strings_do_not_count_as_nesting(talk: Talk) -> None:
    """A value full of brackets and escaped quotes is stored as it is."""
    value = '[{"' * 1_000 + "\\" * 3
    assert talk("configuration/put", name="frames.brackets", value=value)["configuration"]["value"] == value


@pytest.mark.parametrize(
    "payload",
    [b"\xff", b'{"action":"\xc3"}', b'{"action":"\xc0\xaf"}', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', INFO + b"\x80"],
)
def test_text_that_is_not_utf_8_closes_with_1007(wire: Wire, payload: bytes) -> None:
    """Bytes that are not UTF-8 in a text frame close the socket with 1007."""
    wire.send(frame(payload))
    assert wire.closed() == (1007, "text that is not UTF-8")


@pytest.mark.parametrize(
    "character", ["\x00", "\x7f", "é", "\u2028", "\ud7ff", "\ue000", "\ufffe", "\uffff", "\U0010ffff"]
)
def test_valid_utf_8_never_closes_the_socket(wire: Wire, character: str) -> None:
    """Odd characters are answered wherever they stand: bare, or as the requestId, which comes back."""
    wire.send(frame(character.encode()))
    assert wire.answer() == MALFORMED
    wire.send(frame(json.dumps({"action": "server/info", "requestId": character}, ensure_ascii=False).encode()))
    assert wire.answer().get("requestId", character) == character
    assert still_open(wire)


def test_line_separators_leave_as_escapes_and_a_request_id_as_it_came(
    shared_gateway: RunningGateway, admin_token: str
) -> None:
    """U+2028 and U+2029 in a value are escaped, in frames and over HTTP; a requestId comes back byte for byte."""
    with opened(shared_gateway, admin_token) as wire:
        put = '{"action":"configuration/put","requestId":"\u2028","name":"frames.separators","value":"\u2028\u2029"}'
        wire.send(frame(put.encode()))
        answer = wire.frame()[1]
        assert '"requestId":"\u2028",'.encode() in answer
        assert rb'"value":"\u2028\u2029",' in answer
    with shared_gateway.http(admin_token) as client:
        assert rb'"value":"\u2028\u2029",' in client.get("/configuration/frames.separators").content


def test_an_unknown_action_is_named_in_the_answer(talk: Talk) -> None:
    """A mistyped action is repeated in the error, with my requestId."""
    assert talk.frame({"action": "configuration/gte", "requestId": "r"}) == {
        "action": "configuration/gte",
        "requestId": "r",
        "code": 400,
        "status": "error",
        "error": "Illegal argument: configuration/gte",
    }


@pytest.mark.parametrize("members", ["", '"action":null,', '"action":"",', '"action":{"a":1},', '"action":["a"],'])
def test_a_missing_action_is_an_error(talk: Talk, members: str) -> None:
    """A message without an action of type string gets an error that says so, with its requestId."""
    answer = talk.raw("{" + members + '"requestId":7}')
    assert (answer["code"], answer["status"], answer["requestId"]) == (400, "error", 7)
    assert answer["error"] == "'action' field could not be parsed to known endpoint"


@pytest.mark.parametrize(
    "raw",
    [
        "1",
        "-0",
        "1.0",
        "1e2",
        "12345678901234567890123",
        '"a\\u00e9"',
        '""',
        "true",
        "null",
        "[1,[2]]",
        '{"a":{"b":null}}',
    ],
)
@pytest.mark.parametrize("action", ["server/info", "configuration/get", "nonsense"])
def test_a_request_id_of_any_type_comes_back_to_the_letter(wire: Wire, raw: str, action: str) -> None:
    """`requestId` may be any JSON value; success and errors alike echo its very characters."""
    wire.send(frame(b'{"action":"%b","requestId":%b}' % (action.encode(), raw.encode())))
    assert b'"requestId":%b,' % raw.encode() in wire.frame()[1]


def test_without_a_request_id_the_answer_has_null(wire: Wire) -> None:
    """A request without requestId is answered with a null one."""
    wire.send(frame(b'{"action":"server/info"}'))
    assert wire.answer()["requestId"] is None


def test_hundreds_of_puts_without_waiting_are_answered_in_order(
    shared_gateway: RunningGateway, admin_token: str
) -> None:
    """500 puts, sent in one go, get 500 answers in their order, and each sees those before it."""
    with opened(shared_gateway, admin_token) as wire:
        puts = (
            {"action": "configuration/put", "requestId": n, "name": f"frames.order.{n % 5}", "value": str(n)}
            for n in range(500)
        )
        wire.send(b"".join(frame(json.dumps(put).encode()) for put in puts))
        answers = [wire.answer() for _ in range(500)]
        assert [answer["requestId"] for answer in answers] == list(range(500))
        versions = [answer["configuration"]["entityVersion"] for answer in answers]
        assert versions == [n // 5 + 1 for n in range(500)]
        revisions = [answer["revision"] for answer in answers]
        assert revisions == sorted(revisions)


def test_reads_between_writes_see_the_writes_before_them(shared_gateway: RunningGateway, admin_token: str) -> None:
    """Puts, gets, errors and deletes in one segment are answered in order, each as if it had waited."""
    with opened(shared_gateway, admin_token) as wire:
        sent = b""
        for n in range(100):
            for action in ("put", "get", "delete", "get"):
                request = {"action": f"configuration/{action}", "requestId": [n, action], "name": "frames.mixed"}
                sent += frame(json.dumps(request | {"value": str(n)}).encode())
            sent += frame(b"{")
        wire.send(sent)
        for n in range(100):
            put, got, deleted, missing, malformed = (wire.answer() for _ in range(5))
            assert put["requestId"] == [n, "put"]
            assert got["configuration"] == {"name": "frames.mixed", "value": str(n), "entityVersion": 1}
            assert deleted["requestId"] == [n, "delete"]
            assert (missing["requestId"], missing["code"]) == ([n, "get"], 404)
            assert malformed == MALFORMED


# Frames.


def test_a_binary_frame_closes_with_1003_and_says_why(wire: Wire) -> None:
    """Binary messages are not supported: 1003 with that reason, and the end after the peer's close frame."""
    wire.send(frame(INFO, BINARY))
    assert wire.closed() == (1003, "binary frames are not spoken here")
    wire.send(frame((1003).to_bytes(2), CLOSE))
    assert wire.ended()


def test_requests_before_a_binary_frame_are_answered_first(wire: Wire) -> None:
    """Requests before the binary frame are answered, those after it are not."""
    wire.send(frame(INFO) * 3 + frame(b"x", BINARY) + frame(INFO))
    for _ in range(3):
        assert wire.answer()["status"] == "success"
    assert wire.closed()[0] == 1003
    wire.send(frame((1003).to_bytes(2), CLOSE))
    assert wire.ended()


def test_the_largest_message_is_answered_and_one_byte_more_closes_with_1009(wire: Wire) -> None:
    """A message of exactly 1 MiB is read; a larger one closes with 1009."""
    text = b'{"action":"server/info","pad":"%b"}'
    padding = MESSAGE_BYTES - len(text % b"")
    wire.send(frame(text % (b"x" * padding)))
    assert wire.answer()["status"] == "success"
    wire.send(frame(text % (b"x" * (padding + 1))))
    assert wire.closed()[0] == 1009


@pytest.mark.parametrize("length", [MESSAGE_BYTES + 1, 1 << 32, (1 << 63) - 1])
def test_a_length_over_the_limit_closes_before_the_bytes_come(wire: Wire, length: int) -> None:
    """Announcing a huge frame is enough for 1009: the gateway neither waits for it nor allocates memory for it."""
    wire.send(frame(announced=length))
    assert wire.closed()[0] == 1009


def test_fragments_together_over_the_limit_close_with_1009(wire: Wire) -> None:
    """Small fragments do not get around the limit."""
    piece = b"x" * (MESSAGE_BYTES // 4)
    wire.send(frame(piece, fin=False), *[frame(piece, CONTINUATION, fin=False)] * 3, frame(b"x", CONTINUATION))
    assert wire.closed()[0] == 1009


def test_a_character_may_be_split_across_fragments(wire: Wire) -> None:
    """A message is one text, wherever its fragments cut it: even inside of a character."""
    message = '{"action":"server/info","requestId":"h€llo 😀"}'.encode()
    pieces = [message[index : index + 1] for index in range(len(message))]
    wire.send(
        frame(pieces[0], fin=False),
        b"".join(frame(piece, CONTINUATION, fin=False) for piece in pieces[1:-1]),
        frame(pieces[-1], CONTINUATION),
    )
    assert wire.answer()["requestId"] == "h€llo 😀"


def test_a_ping_between_fragments_is_answered_at_once(wire: Wire) -> None:
    """Control frames may stand between fragments; the pong does not wait for the rest of the message."""
    wire.send(frame(INFO[:10], fin=False) + frame(b"now", PING))
    assert wire.frame() == (PONG, b"now")
    wire.send(frame(INFO[10:], CONTINUATION))
    assert wire.answer()["status"] == "success"


def test_thousands_of_empty_fragments_make_one_message(wire: Wire) -> None:
    """Empty fragments are legal and cost nothing."""
    wire.send(frame(fin=False) + frame(b"", CONTINUATION, fin=False) * 20_000 + frame(INFO, CONTINUATION))
    assert wire.answer()["requestId"] == 1
    wire.send(frame(fin=False) + frame(b"", CONTINUATION))
    assert wire.answer() == MALFORMED
    assert still_open(wire)


def test_bad_utf_8_in_a_later_fragment_closes_before_the_message_ends(wire: Wire) -> None:
    """The first byte that cannot be UTF-8 closes with 1007, though the message is not finished."""
    wire.send(frame(b'{"action":', fin=False), frame(b'"\xc3\xa9', CONTINUATION, fin=False))
    wire.send(frame(b"\xff", CONTINUATION, fin=False))
    assert wire.closed()[0] == 1007


def test_a_character_that_is_cut_off_at_the_end_closes_with_1007(wire: Wire) -> None:
    """Half a character at the end of the last fragment is not UTF-8."""
    wire.send(frame(b'"\xe2\x82', fin=False), frame(b"", CONTINUATION))
    assert wire.closed()[0] == 1007


@pytest.mark.parametrize(
    "sent",
    [
        frame(INFO, CONTINUATION),
        frame(INFO[:5], fin=False) + frame(INFO),
        frame(b"", fin=False) + frame(INFO),
        frame(INFO[:5], fin=False) + frame(INFO, fin=False),
        frame(INFO[:5], fin=False) + frame(b"x", BINARY),
        frame(INFO) + frame(b"x", CONTINUATION),
        frame(INFO[:5], fin=False) + frame(INFO[5:], CONTINUATION) + frame(b"x", CONTINUATION),
        frame(INFO, masked=False),
        frame(b"", PING, masked=False),
        *(frame(INFO, reserved=bits) for bits in (1, 2, 4, 7)),
        frame(b"", PING, reserved=4),
        *(frame(b"", opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        frame(b"", PING, fin=False),
        frame(b"x" * 126, PING),
        frame(b"x", CLOSE),
        frame((1005).to_bytes(2), CLOSE),
        frame((999).to_bytes(2), CLOSE),
    ],
    ids=lambda sent: sent[:12].hex(),
)
def test_a_protocol_error_closes_with_1002(wire: Wire, sent: bytes) -> None:
    """Frames against RFC 6455 (no start, no mask, reserved bits or opcodes, bad control frames) close with 1002."""
    wire.send(sent)
    opcode, payload = wire.frame()
    while opcode == TEXT:
        assert json.loads(payload)["status"] == "success"
        opcode, payload = wire.frame()
    assert (opcode, int.from_bytes(payload[:2])) == (CLOSE, 1002)
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.ended()


def test_a_close_reason_that_is_not_utf_8_is_not_accepted(wire: Wire) -> None:
    """A close frame whose reason is not UTF-8 is itself an error."""
    wire.send(frame((1000).to_bytes(2) + b"\xff", CLOSE))
    assert wire.closed()[0] in (1002, 1007)


@pytest.mark.parametrize("padding", [0, 125, 126, 65_535, 70_000])
def test_frames_may_come_byte_by_byte(wire: Wire, padding: int) -> None:
    """However TCP cuts the heads and masks of frames of any size, each is answered."""
    message = frame(b'{"action":"server/info","requestId":2,"pad":"%b"}' % (b"x" * padding))
    wire.send(*(message[index : index + 1] for index in range(20)), message[20:-3])
    wire.send(*(message[index : index + 1] for index in range(len(message) - 3, len(message))))
    assert wire.answer()["requestId"] == 2
    assert still_open(wire)


def test_all_kinds_of_frames_cut_anywhere(shared_gateway: RunningGateway) -> None:
    """Text, fragments, pings and long frames in a row, sent in pieces of every small size, are answered in order."""
    long = frame(b'{"action":"server/info","requestId":"long","pad":"%b"}' % (b"x" * 300))
    sent = (
        frame(INFO)
        + frame(b"p", PING)
        + frame(INFO[:9], fin=False)
        + frame(b"", PING)
        + frame(INFO[9:], CONTINUATION)
        + long
        + frame(b"", PONG)
        + frame(INFO)
    )
    for size in range(1, 18):
        with opened(shared_gateway) as wire:
            wire.send(*(sent[index : index + size] for index in range(0, len(sent), size)))
            assert {wire.frame()[0] for _ in range(6)} == {TEXT, PONG}
            assert still_open(wire)


def test_many_frames_in_one_segment_are_all_answered(wire: Wire) -> None:
    """Thousands of requests in one go get as many answers, in order."""
    wire.send(b"".join(frame(b'{"action":"server/info","requestId":%d}' % n) for n in range(3_000)))
    assert [wire.answer()["requestId"] for _ in range(3_000)] == list(range(3_000))


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(125))])
def test_a_ping_is_answered_with_its_payload(wire: Wire, payload: bytes) -> None:
    """The pong carries what the ping carried."""
    wire.send(frame(payload, PING))
    assert wire.frame() == (PONG, payload)


def test_a_pong_that_nobody_asked_for_is_ignored(wire: Wire) -> None:
    """A pong without a ping leaves the connection open."""
    wire.send(frame(b"hi", PONG))
    assert still_open(wire)


@pytest.mark.parametrize("payload", [(1000).to_bytes(2) + b"bye", (4321).to_bytes(2), b""])
def test_my_close_frame_is_echoed_and_the_connection_ends(wire: Wire, payload: bytes) -> None:
    """The close handshake: the client's code is echoed, then the gateway ends the connection."""
    wire.send(frame(payload, CLOSE))
    opcode, echoed = wire.frame()
    assert opcode == CLOSE
    assert echoed[:2] == payload[:2]
    assert wire.ended()


GOODBYE = frame((1000).to_bytes(2) + b"bye", CLOSE)


def test_requests_before_my_close_frame_are_answered(shared_gateway: RunningGateway, admin_token: str) -> None:
    """Puts, gets and a login before the client's close frame, in one segment, are answered before it is echoed."""
    login = json.dumps({"action": "token", "login": "admin", "password": PASSWORD}).encode()
    for count in (1, 40, 400):
        with opened(shared_gateway, admin_token) as wire:
            put = b'{"action":"configuration/put","name":"frames.last","value":"%d"}'
            get = b'{"action":"configuration/get","name":"frames.last"}'
            wire.send(b"".join(frame(put % n) + frame(get) for n in range(count)) + frame(login) + GOODBYE)
            for n in range(count):
                assert wire.answer()["status"] == "success"
                assert wire.answer()["configuration"]["value"] == str(n)
            assert wire.answer()["accessToken"]
            assert wire.closed() == (1000, "bye")
            assert wire.ended()


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (frame(b"x", BINARY), 1003),
        (frame(b"\xff"), 1007),
        (frame(b"\xff", fin=False), 1007),
        (frame(b"x", reserved=4), 1002),
        (frame(b"x", masked=False), 1002),
        (frame(announced=1 << 40), 1009),
        (frame(b"x" * MESSAGE_BYTES, fin=False) + frame(b"x", CONTINUATION, fin=False), 1009),
        (frame(b"x", CONTINUATION), 1002),
        (frame(b"x", fin=False) + frame(INFO), 1002),
        (frame(b"x", PING, fin=False), 1002),
        (frame(b"x" * 126, PING), 1002),
        (frame(opcode=PONG, announced=1 << 40), 1002),
    ],
)
def test_requests_before_a_protocol_error_are_answered(
    shared_gateway: RunningGateway, admin_token: str, last: bytes, code: int
) -> None:
    """Also slow ones: earlier requests are carried out and answered, then the socket is closed."""
    puts = [{"action": "configuration/put", "requestId": n, "name": "frames.mistake", "value": "v"} for n in range(9)]
    gets = [{"action": "configuration/get", "requestId": n, "name": "frames.mistake"} for n in range(9)]
    requests = [json.dumps(request) for pair in zip(puts, gets, strict=True) for request in pair]
    with opened(shared_gateway, admin_token) as wire:
        wire.send(b"".join(frame(request.encode()) for request in requests) + last + frame(INFO))
        for number in range(18):
            answer = wire.answer()
            assert (answer["requestId"], answer["status"]) == (number // 2, "success")
        assert wire.closed()[0] == code


def test_notifications_before_my_close_frame_are_carried_out(shared_gateway: RunningGateway, admin_token: str) -> None:
    """JSON-RPC notifications get no answer, but are carried out before the close frame is echoed."""
    notification = b'{"jsonrpc":"2.0","method":"configuration/%b","params":{"name":"frames.%b","value":"1"}}'
    with opened(shared_gateway, admin_token) as wire:
        calls = ((b"put", b"first"), (b"delete", b"first"), (b"get", b"first"), (b"put", b"second"))
        wire.send(b"".join(frame(notification % call) for call in calls * 20), GOODBYE[:3], GOODBYE[3:])
        assert wire.closed() == (1000, "bye")
        assert wire.ended()
    with shared_gateway.socket(admin_token) as talk:
        assert talk("configuration/get", name="frames.first")["code"] == 404
        assert talk("configuration/get", name="frames.second")["configuration"]["entityVersion"] == 20


def test_a_close_frame_behind_answers_that_are_not_read_is_not_waited_for_long(data: Path) -> None:
    """A client that sends a close frame without reading its answers is disconnected after `--drain-seconds`."""
    flags = ("--outbox-bytes", "65536", "--drain-seconds", "2", "--slow-seconds", "600")
    with RunningGateway(data, *flags) as gateway:
        token = gateway.token()
        with gateway.socket(token) as talk, opened(gateway, token, receive_buffer=4096) as wire:
            talk("configuration/put", name="big", value="😀" * 65_000)
            # Their answers are more than the system buffers. The last of the requests are not handled together with
            # the first, because of the size of all: the goodbye is read, and stands behind what has to wait.
            wire.send(frame(b'{"action":"configuration/get","name":"big"}') * 400 + GOODBYE)
            until(lambda: gauge(gateway, "outbox_bytes") > 65_536)
            until(lambda: gauge(gateway, "sockets") == 1)


def test_requests_read_before_a_stop_are_answered(data: Path) -> None:
    """At a stop all requests of a segment are answered if one of them was; then the close frame follows."""
    with RunningGateway(data, "--pipeline", "2", "--drain-seconds", "30") as gateway, opened(gateway) as wire:
        login = {"action": "token", "login": "admin", "password": PASSWORD, "pad": "x" * 4_000}
        wire.send(b"".join(frame(json.dumps(login | {"requestId": n}).encode()) for n in range(7)))
        assert wire.answer()["requestId"] == 0
        gateway.process.send_signal(signal.SIGTERM)
        assert [wire.answer()["requestId"] for _ in range(6)] == list(range(1, 7))
        assert wire.closed()[0] == 1001
        wire.send(frame((1001).to_bytes(2), CLOSE))
        assert wire.ended()
        wire.close()
        assert gateway.stop() == 0


def test_pings_come_and_a_peer_that_answers_them_stays(data: Path) -> None:
    """With a small `--ping-seconds` pings keep arriving, and the socket stays open while each is answered."""
    with RunningGateway(data, "--ping-seconds", "2") as gateway, opened(gateway) as wire:
        for _ in range(2):
            opcode, payload = wire.any_frame()
            assert opcode == PING
            wire.send(frame(payload, PONG))
        wire.send(frame(INFO))
        opcode, payload = wire.any_frame()
        while opcode == PING:
            wire.send(frame(payload, PONG))
            opcode, payload = wire.any_frame()
        assert opcode == TEXT


def test_a_peer_that_does_not_answer_a_ping_is_closed_with_1011(data: Path) -> None:
    """No pong until the next ping is due: closed with 1011, and the connection is ended."""
    with RunningGateway(data, "--ping-seconds", "0.3") as gateway, opened(gateway) as wire:
        assert wire.any_frame()[0] == PING
        assert wire.closed() == (1011, "no pong")
        wire.send(frame((1011).to_bytes(2), CLOSE))
        assert wire.ended()
        until(lambda: [event["code"] for event in gateway.events("socket closed")] == [1011])


def test_a_peer_that_never_finishes_the_close_handshake_is_cut_off(shared_gateway: RunningGateway) -> None:
    """After the gateway's close frame a silent peer cannot keep the connection open."""
    with opened(shared_gateway) as wire:
        wire.send(frame(b"x", BINARY))
        assert wire.closed()[0] == 1003
        assert wire.ended()
