"""The past: earlier versions, history, rollback; and transactions."""

from __future__ import annotations

import json
from typing import Any

from tests.command import Run
from tests.running import RunningGateway, Talk


def shown(changes: list[dict[str, Any]]) -> list[tuple[str, str | None, int]]:
    """Operation, value and version of each change."""
    return [
        (each["operation"], each["configuration"]["value"], each["configuration"]["entityVersion"]) for each in changes
    ]


def two_lives(talk: Talk, name: str) -> list[int]:
    """Put a, b, delete, put c; the revisions."""
    revisions = [talk("configuration/put", name=name, value=value)["revision"] for value in "ab"]
    revisions.append(talk("configuration/delete", name=name)["revision"])
    revisions.append(talk("configuration/put", name=name, value="c", description="again")["revision"])
    return revisions


def test_history_shows_every_change_of_every_life_newest_first(talk: Talk) -> None:
    """Deletes and the changes before them are in it, with author, time and reason."""
    revisions = two_lives(talk, "history.lives")
    changes = talk("configuration/history", name="history.lives")["changes"]
    assert shown(changes) == [("put", "c", 1), ("delete", None, 3), ("put", "b", 2), ("put", "a", 1)]
    assert [change["revision"] for change in changes] == revisions[::-1]
    assert [change["description"] for change in changes] == ["again", None, None, None]
    assert {change["modifiedBy"] for change in changes} == {"admin"}


def test_history_is_read_in_pages(talk: Talk) -> None:
    """`take` and `before` lead through a long history without a gap, wherever `before` stands."""
    for number in range(60):
        talk("configuration/put", name="history.long", value=str(number))
    found: list[str] = []
    before = None
    while page := talk("configuration/history", name="history.long", take=7, before=before)["changes"]:
        found += [change["configuration"]["value"] for change in page]
        before = page[-1]["revision"]
    assert found == [str(number) for number in reversed(range(60))]
    talk("configuration/put", name="history.other", value="1")
    newest = talk("configuration/get", name="history.other")["revision"]
    assert len(talk("configuration/history", name="history.long", before=newest, take=100)["changes"]) == 60
    assert talk("configuration/history", name="history.long", take=1_001)["code"] == 400
    assert talk("configuration/history", name="history.never")["code"] == 404


def test_an_earlier_version_is_read_by_its_number_or_revision(talk: Talk) -> None:
    """A version is one of the current life; a revision reaches earlier lives too."""
    first, second, _, third = two_lives(talk, "history.get")
    assert talk("configuration/get", name="history.get", entityVersion=1)["configuration"]["value"] == "c"
    assert talk("configuration/get", name="history.get", revision=first)["configuration"]["value"] == "a"
    assert talk("configuration/get", name="history.get", revision=second, entityVersion=2)["revision"] == second
    assert talk("configuration/get", name="history.get", revision=third)["configuration"]["value"] == "c"
    refused = talk("configuration/get", name="history.get", entityVersion=2)
    assert (refused["code"], "has no version 2 (it is at 1)" in refused["error"]) == (404, True)
    assert talk("configuration/get", name="history.get", revision=third + 1)["code"] == 404


def test_a_rollback_is_a_new_version_with_the_old_content(talk: Talk) -> None:
    """Nothing is undone silently: the old content and type come back as the next version."""
    talk("configuration/put", name="history.back", value="[1]", contentType="application/json")
    talk("configuration/put", name="history.back", value="oops")
    back = talk("configuration/rollback", name="history.back", to=1, description="as it was", entityVersion=2)
    assert back["configuration"] == {
        "name": "history.back",
        "value": "[1]",
        "entityVersion": 3,
        "contentType": "application/json",
        "size": 3,
    }
    late = talk("configuration/rollback", name="history.back", to=2, entityVersion=2)
    assert (late["code"], late["change"]["configuration"]["entityVersion"]) == (409, 3)
    assert talk("configuration/rollback", name="history.back", to=9)["code"] == 404
    assert talk("configuration/rollback", name="history.back")["code"] == 400


def test_a_deleted_name_comes_back_by_its_revision(talk: Talk) -> None:
    """`toRevision` can name a change before a delete; a delete itself is not a content to go back to."""
    first = talk("configuration/put", name="history.gone", value="here")["revision"]
    deleted = talk("configuration/delete", name="history.gone")["revision"]
    assert talk("configuration/rollback", name="history.gone", to=1)["code"] == 404
    assert talk("configuration/rollback", name="history.gone", toRevision=deleted)["code"] == 400
    back = talk("configuration/rollback", name="history.gone", toRevision=first)
    assert back["configuration"] == {"name": "history.gone", "value": "here", "entityVersion": 1}


def test_a_transaction_is_all_or_nothing_under_one_revision(talk: Talk) -> None:
    """Puts and deletes happen together, or the first that cannot be decides and nothing is written."""
    talk("configuration/put", name="transact.old", value="1")
    done = talk(
        "configuration/transact",
        changes=[
            {"operation": "put", "name": "transact.a", "value": 1, "entityVersion": 0},
            {"operation": "delete", "name": "transact.old", "entityVersion": 1},
        ],
    )
    assert done["configurations"] == [
        {"name": "transact.a", "value": "1", "entityVersion": 1},
        {"name": "transact.old", "value": None, "entityVersion": 2},
    ]
    for name in ("transact.a", "transact.old"):
        assert talk("configuration/history", name=name, take=1)["changes"][0]["revision"] == done["revision"]
    refused = talk(
        "configuration/transact",
        changes=[
            {"operation": "put", "name": "transact.b", "value": "1"},
            {"operation": "put", "name": "transact.a", "value": "2", "entityVersion": 7},
        ],
    )
    assert (refused["code"], refused["index"], refused["change"]["configuration"]["entityVersion"]) == (409, 1, 1)
    assert talk("configuration/get", name="transact.b")["code"] == 404


def test_a_bad_transaction_says_where_and_writes_nothing(talk: Talk) -> None:
    """Empty, over 1,000, a name twice, an unknown operation, a missing value, a name out of reach."""
    good = {"operation": "put", "name": "transact.bad", "value": "1"}
    for changes, code, index in (
        ([], 400, None),
        ([{**good, "name": f"transact.{n}"} for n in range(1_001)], 400, None),
        ([good, good], 400, 1),
        ([good, {"operation": "move", "name": "x"}], 400, 1),
        ([good, {"operation": "put", "name": "x"}], 400, 1),
        ([good, {**good, "name": "jwt.secret"}], 403, 1),
        ([good, {"operation": "delete", "name": "transact.never"}], 404, 1),
    ):
        refused = talk("configuration/transact", changes=changes)
        assert (refused["code"], refused.get("index")) == (code, index), refused
    assert talk("configuration/get", name="transact.bad")["code"] == 404


def test_a_configuration_may_be_called_transact(shared_gateway: RunningGateway, admin_token: str) -> None:
    """The path of transactions takes POST alone; a name of the same spelling is put and read there."""
    with shared_gateway.http(admin_token) as http:
        assert http.put("/configuration/transact", json={"value": "a name"}).status_code == 200
        assert http.get("/configuration/transact").json()["value"] == "a name"
        changes = [{"operation": "delete", "name": "transact"}]
        assert http.post("/configuration/transact", json={"changes": changes}).status_code == 200
        assert http.get("/configuration/transact").status_code == 404


def test_the_command_line_shows_history_and_rolls_back(logged_in: Run) -> None:
    """`hivewire history` prints one JSON object per line into a pipe, `hivewire rollback` writes the old content."""
    for value in ("one", "two"):
        assert logged_in("put", "history.cli", value).code == 0
    back = logged_in("rollback", "history.cli", "1", "--expect", "2", "--description", "better")
    assert back.out.startswith("history.cli is at version 3 ")
    changes = [json.loads(line) for line in logged_in("history", "history.cli").out.splitlines()]
    assert shown(changes) == [("put", "one", 3), ("put", "two", 2), ("put", "one", 1)]
    late = logged_in("rollback", "history.cli", "2", "--expect", "2")
    assert (late.code, "is at version 3, not 2" in late.err) == (1, True)
    assert logged_in("rollback", "history.cli").code == 2


def test_a_rollback_over_http_heeds_if_match(shared_gateway: RunningGateway, admin_token: str) -> None:
    """A condition in a header is never ignored: the wrong version is 412 and nothing is written."""
    with shared_gateway.http(admin_token) as http:
        for value in "ab":
            http.put("/configuration/history.tag", json={"value": value})
        refused = http.post("/configuration/history.tag/rollback", json={"to": 1}, headers={"If-Match": '"1"'})
        assert (refused.status_code, http.get("/configuration/history.tag").json()["value"]) == (412, "b")
        done = http.post("/configuration/history.tag/rollback", json={"to": 1}, headers={"If-Match": '"2"'})
        assert (done.status_code, done.json()["configuration"]["entityVersion"]) == (200, 3)


def test_a_written_transaction_is_never_answered_with_a_refusal(
    shared_gateway: RunningGateway, admin_token: str
) -> None:
    """The answer to a transaction may be larger than any other; then it has the names, and says so."""
    changes = [{"operation": "put", "name": f"history.large.{n}", "value": "\u2028" * 60_000} for n in range(5)]
    frame = json.dumps({"action": "configuration/transact", "changes": changes}, ensure_ascii=False)
    with shared_gateway.socket(admin_token, max_size=None) as talk:
        answer = talk.raw(frame)
    assert answer["status"] == "success"
    assert [each["entityVersion"] for each in answer["configurations"]] == [1] * 5
    with shared_gateway.http() as client:
        body = json.dumps({"changes": changes}, ensure_ascii=False).encode()
        response = client.post("/configuration/transact", content=body)
        assert (response.status_code, len(response.json()["configurations"])) == (200, 5)
        for each in changes:  # the gateway is shared, and a list of all would be too long for the others
            assert client.delete(f"/configuration/{each['name']}").status_code == 204
