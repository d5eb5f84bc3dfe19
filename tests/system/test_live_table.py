"""The page `examples/live_table.html`, run by Node against a real gateway: its protocol part as it stands, and the
whole of it in a document that has just what the page uses."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gate.test_browser import NODE, needs_websocket
from tests.running import RunningGateway, Talk

PAGE = Path(__file__).parents[2] / "examples" / "live_table.html"

pytestmark = needs_websocket

SAY = """
const say = (kind, what) => process.stdout.write(JSON.stringify([kind, what]) + "\\n");
const told = require("readline").createInterface({input: process.stdin});
told.on("line", line => eval(line)).on("close", () => process.exit());
const given = JSON.parse(process.argv[1]);
"""

FOLLOW = """
const follower = new Follower(given.url, given.token, given.names, {
    status: (text, trouble = false) => say("status", [text, trouble]),
    tokenWanted: why => say("tokenWanted", why),
    applied: (rows, changes, replaced) => say("applied", {
        rows: Object.fromEntries([...rows.values()].map(row => [row.name, row.value])), changes, replaced}),
}, given.pace);
follower.start();
"""

DOCUMENT = """
class Element {
    constructor() { this.children = []; this.listeners = {}; this.text = ""; this.value = ""; this.className = ""; }
    get parentNode() { return this.parent; }
    setAttribute(name, value) { this[name] = String(value); }
    set innerHTML(_) { throw new Error("markup"); }
    set outerHTML(_) { throw new Error("markup"); }
    set textContent(text) { this.children = []; this.text = String(text); }
    get textContent() { return this.text + this.children.map(child => child.textContent).join(""); }
    append(...children) { for (const child of children) this.insertBefore(child, null); }
    replaceChildren(...children) { this.textContent = ""; this.append(...children); }
    insertBefore(child, next) {
        this.children.splice(next ? this.children.indexOf(next) : this.children.length, 0, child);
        child.parent = this;
    }
    remove() { this.parent.children.splice(this.parent.children.indexOf(this), 1); }
    addEventListener(kind, listener) { this.listeners[kind] = listener; }
    focus() {}
    fire(kind, more = {}) { this.listeners[kind]({preventDefault() {}, stopPropagation() {}, ...more}); }
}
const elements = Object.fromEntries(given.ids.map(id => [id, new Element()]));
const document = {
    getElementById: id => elements[id] ?? null,
    createElement: () => new Element(),
    createElementNS: () => new Element(),
};
const storage = {};
const sessionStorage = {getItem: key => storage[key] ?? null, setItem: (key, value) => { storage[key] = value; }};
const table = () => elements.rows.children.map(line => line.children.map(cell => cell.textContent));
const find = name => elements.rows.children.find(line => line.children[0].textContent === name);
// Say something once it is so; looked at after each message and each change of the page's own.
const until = (kind, so) => {
    const look = () => so() ? say(kind, so()) : setTimeout(look, 5);
    look();
};
"""

ENTER = """
elements.address.value = given.url; elements.token.value = given.token; elements.names.value = given.names.join(" ");
elements.form.fire("submit");
"""


class Page:
    """A program that prints what it sees, and does what it is told in JavaScript."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def do(self, script: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(script + "\n")
        self.process.stdin.flush()

    def hear(self, wanted: str, *words: str) -> Any:
        """The next thing of a kind that has these words in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            kind, what = json.loads(line)
            if kind == wanted and all(word in json.dumps(what, ensure_ascii=False) for word in words):
                return what
        raise AssertionError(f"it ended without {wanted} {words}")

    def change(self) -> Any:
        """The next time that something was applied because it changed: the rows as they are now."""
        while True:
            what = self.hear("applied")
            if not any(change.get("old") for change in what["changes"]):
                return what


@contextmanager
def page(
    *parts: str, url: str, token: str, names: Sequence[str] = (), pace: dict[str, int] | None = None, file: Path = PAGE
) -> Iterator[Page]:
    """The scripts of a page with these ids, and other code, in Node."""
    assert NODE is not None
    text = file.read_text()
    scripts = dict(re.findall(r'<script id="(\w+)">(.*?)</script>', text, re.DOTALL))
    program = SAY + "".join(scripts.get(part, part) for part in parts)
    given = json.dumps(
        {"url": url, "token": token, "names": names, "pace": pace or {}, "ids": re.findall(r'id="(\w+)"', text)}
    )
    process = subprocess.Popen(
        [NODE, "--experimental-websocket", "--no-warnings", "-e", program, given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Page(process)
        finally:
            process.kill()


@contextmanager
def follow(gateway: RunningGateway, *names: str, token: str = "", clock: str = "", **pace: int) -> Iterator[Page]:
    with page(
        clock, "follower", FOLLOW, url=gateway.url, token=token or gateway.token(), names=list(names), pace=pace
    ) as running:
        yield running


def refresh_token(talk: Talk) -> str:
    reply = talk("token/create", payload={"userId": 1, "actions": ["*"], "refreshExpiration": "2100-01-01T00:00:00"})
    return str(reply["refreshToken"])


# What is spoken.


def test_rows_are_the_state_and_every_change(shared_gateway: RunningGateway, talk: Talk) -> None:
    """Puts, deletions and whole transactions; author and time arrive with a change, and are fetched for the other
    rows."""
    talk("configuration/put", name="page.a", value="1")
    with follow(shared_gateway, "page.*") as running:
        first = running.change()
        assert (first["rows"], first["replaced"]) == ({"page.a": "1"}, True)
        talk("configuration/put", name="page.b", value="2", description="why")
        put = running.change()
        assert put["rows"] == {"page.a": "1", "page.b": "2"}
        (change,) = put["changes"]
        assert (change["who"], change["why"], change["version"]) == ("admin", "why", 1)
        both = [{"operation": "delete", "name": "page.b"}, {"operation": "put", "name": "page.a", "value": "3"}]
        talk("configuration/transact", changes=both)
        whole = running.change()
        assert (whole["rows"], len(whole["changes"])) == ({"page.a": "3"}, 2)
        running.do("follower.rows.get('page.a').when = undefined; follower.findAuthors(['page.a'])")
        assert running.hear("applied", '"old": true')["changes"][0]["who"] == "admin"


def test_a_page_outlives_the_gateway(data: Path, tmp_path: Path) -> None:
    """After a stop it waits for the given time and resumes; on another ledger it gets the whole state."""
    spread = ("--drain-spread", "0.1")
    with RunningGateway(data, *spread) as gateway:
        with gateway.socket() as talk:
            talk("configuration/put", name="kept", value="1")
            talk("configuration/put", name="gone", value="1")
        with follow(gateway, "*") as running:
            assert running.change()["rows"] == {"kept": "1", "gone": "1"}
            gateway.stop()
            assert re.search(r"retry=\d+\); next attempt in 0\.[01] s", running.hear("status", "disconnected")[0])
            port = ("--port", str(gateway.port))
            with RunningGateway(data, *spread, *port) as again, again.socket() as talk:
                talk("configuration/delete", name="gone")
                resumed = running.change()
                assert (resumed["rows"], resumed["replaced"]) == ({"kept": "1"}, False)
            running.hear("status", "disconnected")  # killed: without a word
            with RunningGateway(tmp_path / "other.db", *spread, *port) as other, other.socket() as talk:
                while (found := running.change())["rows"]:
                    assert not found["replaced"]
                assert found["replaced"]
                talk("configuration/put", name="new", value="1")
                assert running.change()["rows"] == {"new": "1"}


def test_a_page_does_not_reconnect_when_told_not_to(shared_gateway: RunningGateway) -> None:
    """On a close code with the advice not to reconnect it says so and stays disconnected."""
    with follow(shared_gateway, "page.no") as running:
        running.change()
        running.do("follower.socket.send(new Uint8Array([1]))")
        text, trouble = running.hear("status", "disconnected")
        assert "binary frames are not spoken here" in text
        assert "trying again would not help" in text
        assert trouble


def test_half_of_something_is_never_seen(shared_gateway: RunningGateway) -> None:
    """Frames without a position count when one comes; conflated ones and bookmarks are taken, a reset replaces."""
    with follow(shared_gateway, "page.half") as running:
        running.change()
        give = "follower.receive({action: 'configuration/update', subscriptionId: 1, operation: 'put', %s});"
        one = give % "more: true, conflated: true, configuration: {name: 'a', value: '1', entityVersion: 1}"
        two = give % "position: 'e-1', conflated: true, configuration: {name: 'b', value: '1', entityVersion: 1}"
        running.do(one + "say('rows', follower.rows.size)")
        assert running.hear("rows") == 0
        running.do(two)
        assert running.change()["rows"] == {"a": "1", "b": "1"}
        state = (
            "follower.receive({subscriptionId: 1, configurations: [{name: '%s', value: '1', entityVersion: 1}], %s});"
        )
        running.do(one + state % ("c", "reset: true, last: false") + "say('rows', follower.rows.size)")
        assert running.hear("rows") == 2
        running.do(state % ("d", "last: true, position: 'e-2'"))
        assert running.change()["rows"] == {"c": "1", "d": "1"}
        running.do("follower.receive({subscriptionId: 1, position: 'e-3'}); say('at', follower.position)")
        assert running.hear("at") == "e-3"


@pytest.mark.parametrize("clock", ["", "Date.now = () => Infinity;"])
def test_a_page_keeps_its_login(data: Path, clock: str) -> None:
    """With a refresh token it continues past the end of access tokens, over the same socket, even with a wrong
    clock."""
    with RunningGateway(data, "--access-token-lifetime", "1") as gateway:
        with gateway.socket() as talk:
            refresh = refresh_token(talk)
            long = {"userId": 1, "actions": ["*"], "expiration": "2100-01-01T00:00:00"}
            writer = talk("token/create", payload=long)["accessToken"]
        count = """
            globalThis.renewals = 0; globalThis.socket = follower.socket;
            follower.authenticate = function () { renewals++; return Follower.prototype.authenticate.call(this); };
        """
        with gateway.socket(writer) as talk, follow(gateway, "w", token=refresh, clock=clock, ask=50) as running:
            running.change()
            running.do(" ".join(count.split()))
            renewals, written = 0, 0
            while renewals < 3:
                written += 1
                talk("configuration/put", name="w", value=str(written))
                assert running.change()["rows"] == {"w": str(written)}
                running.do("say('renewals', [renewals, socket === follower.socket])")
                renewals, same = running.hear("renewals")
                assert same


def test_a_page_asks_for_another_token_and_goes_on(shared_gateway: RunningGateway, talk: Talk) -> None:
    """An access token that expires is noticed though nothing is pushed; with another one it resumes where it stood."""
    payload = {"userId": 1, "actions": ["GetConfiguration"], "expiration": int(time.time() * 1_000) + 3_000}
    token = talk("token/create", payload=payload)["accessToken"]
    with follow(shared_gateway, "page.token", token=token, ask=50) as running:
        running.change()
        assert running.hear("tokenWanted") == "401 Token expired"
        talk("configuration/put", name="page.token", value="missed?")
        running.do(f"follower.setToken({json.dumps(shared_gateway.token())})")
        found = running.change()
        assert (found["rows"], found["replaced"]) == ({"page.token": "missed?"}, False)


def test_a_token_that_reaches_more_begins_with_the_state(shared_gateway: RunningGateway, talk: Talk) -> None:
    """When the connection was lost as well, so that the gateway cannot know what the page has not seen."""
    for name in ("wide.a", "wide.b"):
        talk("configuration/put", name=name, value="1")
    payload = {"userId": 1, "actions": ["GetConfiguration"], "configurations": ["wide.a"]}
    soon = int(time.time() * 1_000) + 3_000
    token = talk("token/create", payload={**payload, "expiration": soon})["accessToken"]
    with follow(shared_gateway, "wide.*", token=token, ask=50) as running:
        assert running.change()["rows"] == {"wide.a": "1"}
        running.hear("tokenWanted")
        running.do("follower.lost(1006, '')")
        running.hear("tokenWanted")
        running.do(f"follower.setToken({json.dumps(shared_gateway.token())})")
        assert running.change()["rows"] == {"wide.a": "1", "wide.b": "1"}


def test_a_page_says_what_is_refused(shared_gateway: RunningGateway, talk: Talk) -> None:
    """After an invalid token it asks for another; a token without the right ends it."""
    with follow(shared_gateway, "page.x", token="no.token") as running:
        assert "Invalid credentials" in running.hear("tokenWanted")
        running.do(f"follower.setToken({json.dumps(shared_gateway.token())})")
        assert running.change()["replaced"]
    weak = talk("token/create", payload={"userId": 1, "actions": ["GetDevice"]})["accessToken"]
    with follow(shared_gateway, "page.x", token=weak) as running:
        assert running.hear("status", "Access is denied") == ["403 Access is denied: this needs GetConfiguration", True]


# What is seen.


@contextmanager
def document(gateway: RunningGateway, *names: str) -> Iterator[Page]:
    with page(
        DOCUMENT, "follower", "page", ENTER, url=gateway.url, token=gateway.token(), names=list(names)
    ) as running:
        yield running


def test_the_table_shows_rows_in_order_and_no_markup(shared_gateway: RunningGateway, talk: Talk) -> None:
    """Every value is text; a change is highlighted, a deletion too."""
    evil = "<img src=x onerror=alert(1)>"
    for name in ("dom.b", "dom.a"):
        talk("configuration/put", name=name, value=evil)
    with document(shared_gateway, "dom.*") as running:
        running.do("until('table', () => table().length === 2 && table().every(cells => cells[4]) && table())")
        rows = running.hear("table")
        assert [cells[:4] for cells in rows] == [["dom.a", "1", evil, "admin"], ["dom.b", "1", evil, "admin"]]
        talk("configuration/put", name="dom.ab", value="between")
        running.do("until('changed', () => find('dom.ab')?.className)")
        assert running.hear("changed") == "changed"
        for name in ("dom.d", "dom.aa", "dom.c"):
            talk("configuration/put", name=name, value="in its place")
        running.do("until('names', () => find('dom.c') && table().map(cells => cells[0]))")
        assert running.hear("names") == ["dom.a", "dom.aa", "dom.ab", "dom.b", "dom.c", "dom.d"]
        talk("configuration/delete", name="dom.a")
        running.do("until('gone', () => find('dom.a').className === 'gone')")
        running.hear("gone")
        running.do("say('status', elements.status.textContent); say('kept', storage['hivewire.live_table'])")
        assert running.hear("status") == "live"
        assert set(json.loads(running.hear("kept"))) == {"address", "token", "names"}


def test_an_edit_that_came_too_late_shows_the_conflict(shared_gateway: RunningGateway, talk: Talk) -> None:
    """A value is written with the version at the start of the edit; saving again overwrites the shown conflict."""
    talk("configuration/put", name="edit.a", value="{}", contentType="application/json")
    with document(shared_gateway, "edit.a") as running:
        running.do("until('table', () => table().length === 1)")
        running.hear("table")
        running.do(
            "find('edit.a').children[2].fire('click'); say('text', find('edit.a').children[2].children[0].value)"
        )
        assert running.hear("text") == "{}"
        talk("configuration/put", name="edit.a", value="[1]", contentType="application/json")
        save = "globalThis.cell = find('edit.a').children[2]; cell.children[0].value = '[2]';"
        save += "cell.children[1].fire('click');"
        running.do(save + "until('conflict', () => cell.children[3].textContent)")
        conflict = running.hear("conflict")
        assert conflict.startswith("Conflict: now “[1]” by admin at ")
        assert "version 2" in conflict
        assert talk("configuration/get", name="edit.a")["configuration"]["entityVersion"] == 2
        running.do(save + "until('saved', () => cell.textContent === '[2]')")
        running.hear("saved")
        assert talk("configuration/get", name="edit.a")["configuration"] == {
            "name": "edit.a",
            "value": "[2]",
            "entityVersion": 3,
            "contentType": "application/json",
            "size": 3,
        }


def test_a_page_from_the_disk_is_let_in(shared_gateway: RunningGateway, admin_token: str) -> None:
    """A browser sends `Origin: null` for it."""
    with shared_gateway.socket(admin_token, origin="null") as talk:
        assert talk("configuration/subscribe")["mode"] == "snapshot"


@pytest.mark.parametrize("file", sorted(PAGE.parent.glob("*.html")), ids=lambda file: file.name)
def test_a_page_loads_nothing_and_has_no_form_that_could_send(file: Path) -> None:
    """No field that would end up in an address, nothing from elsewhere, and no way to make markup of text."""
    text = file.read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", text)
    assert not re.search(r"<(input|button)[^>]*\bname=", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|localStorage", text)
