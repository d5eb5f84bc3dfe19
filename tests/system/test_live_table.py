"""The page `examples/live_table.html`, run by Node against a real gateway, in a document that has just what it uses.
What the client itself does is tested in `tests/clients`."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.node_js import NODE, needs_websocket
from tests.running import RunningGateway, Talk

PAGE = Path(__file__).parents[2] / "examples" / "live_table.html"

pytestmark = needs_websocket

SAY = """
import {createInterface} from "node:readline";
const say = (kind, what) => process.stdout.write(JSON.stringify([kind, what]) + "\\n");
const told = createInterface({input: process.stdin});
told.on("line", line => eval(line)).on("close", () => process.exit());
const given = JSON.parse(process.argv[1]);
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


@contextmanager
def page(
    *parts: str, url: str, token: str, names: Sequence[str] = (), pace: dict[str, int] | None = None, file: Path = PAGE
) -> Iterator[Page]:
    """The scripts of a page with these ids, and other code, in Node."""
    assert NODE is not None
    text = file.read_text()
    scripts = dict(re.findall(r'<script id="(\w+)"[^>]*>(.*?)</script>', text, re.DOTALL))
    program = SAY + "".join(scripts.get(part, part) for part in parts)
    program = re.sub(r'from "(\.\./[^"]+)"', lambda found: f'from "{(file.parent / found[1]).resolve()}"', program)
    given = json.dumps(
        {"url": url, "token": token, "names": names, "pace": pace or {}, "ids": re.findall(r'id="(\w+)"', text)}
    )
    process = subprocess.Popen(
        [NODE, "--experimental-websocket", "--no-warnings", "--input-type=module", "-e", program, given],
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
def document(gateway: RunningGateway, *names: str, token: str = "") -> Iterator[Page]:
    with page(DOCUMENT, "page", ENTER, url=gateway.url, token=token or gateway.token(), names=list(names)) as running:
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


def status(running: Page, *words: str) -> None:
    """Wait until the page says so of itself."""
    so = " && ".join(f"elements.status.textContent.includes({json.dumps(word)})" for word in words)
    running.do(f"until('status', () => {so})")
    running.hear("status")


def test_a_page_outlives_the_gateway(data: Path) -> None:
    """While it is gone the page says since when; then it goes on, and has what happened meanwhile."""
    with RunningGateway(data, "--drain-spread", "0.1") as gateway:
        with gateway.socket() as talk:
            talk("configuration/put", name="kept", value="1")
        with document(gateway, "*") as running:
            running.do("until('table', () => table().length === 1)")
            running.hear("table")
            gateway.stop()
            status(running, "as of", "trying again")
            with RunningGateway(data, "--port", str(gateway.port)) as again, again.socket() as talk:
                talk("configuration/put", name="new", value="1")
                running.do("until('both', () => table().length === 2)")
                running.hear("both")
                status(running, "live")


def test_a_page_asks_for_another_token_and_goes_on(shared_gateway: RunningGateway, talk: Talk) -> None:
    """When a token ends, or is none, the field is empty and the page says what it needs; with one it goes on."""
    with document(shared_gateway, "page.token", token="no.token") as running:
        status(running, "give another token")
        talk("configuration/put", name="page.token", value="1")
        running.do("say('field', elements.token.value)")
        assert not running.hear("field")
        token = json.dumps(shared_gateway.token())
        running.do(f"elements.token.value = {token}; elements.form.fire('submit')")
        status(running, "live")
        running.do("until('table', () => table().length === 1)")
        running.hear("table")


def test_a_page_says_what_is_refused(shared_gateway: RunningGateway, talk: Talk) -> None:
    """A token without the right ends it, and so does its button."""
    weak = talk("token/create", payload={"userId": 1, "actions": ["GetDevice"]})["accessToken"]
    with document(shared_gateway, "page.x", token=weak) as running:
        status(running, "this needs GetConfiguration")
    with document(shared_gateway, "page.x") as running:
        status(running, "live")
        running.do("elements.disconnect.fire('click')")
        status(running, "disconnected")


def test_a_page_from_the_disk_is_let_in(shared_gateway: RunningGateway, admin_token: str) -> None:
    """A browser sends `Origin: null` for it."""
    with shared_gateway.socket(admin_token, origin="null") as talk:
        assert talk("configuration/subscribe")["mode"] == "snapshot"


@pytest.mark.parametrize("file", sorted(PAGE.parent.glob("*.html")), ids=lambda file: file.name)
def test_a_page_loads_nothing_and_has_no_form_that_could_send(file: Path) -> None:
    """No field that would end up in an address, nothing but the client from elsewhere, no way to make markup."""
    text = file.read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", text)
    assert {*re.findall(r'^import .*"(.*)";$', text, re.MULTILINE)} <= {"../clients/js/src/index.js"}
    assert not re.search(r"<(input|button)[^>]*\bname=", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|localStorage", text)
