"""Each refusal of the fleet's actions has its words, and each is tried (fleet.md, section 12)."""

from __future__ import annotations

import ast
import traceback
from pathlib import Path
from typing import Any

from hivewire.actions import device_configuration, fleet, layer, layered, rollout, schedule, schema
from hivewire.actions.checks import violations
from hivewire.caller import Caller
from hivewire_protocol.errors import TooLarge, WireError
from tests.rooms.fleets import ANN, World
from tests.rooms.fleets import fleet as fleet_of
from tests.rooms.test_rollouts import judge, put, start

MODULES = (device_configuration, fleet, layer, layered, rollout, schedule, schema)
ALL: list[dict[str, Any]] = [{"percent": 100}]
MIXED: list[dict[str, Any]] = [{"deviceIds": ["a"]}, {"percent": 10, "labels": {"site": ["bonn"]}}]
NAME = "a layer's name has 1 to 32 characters of a-z 0-9 . -"
OVER = " must be over {}, that of a step before"
STATES = "state must be one of "
TARGET = "target.labels: a label has 1 to 64 characters, and its value at most 64"
UNKNOWN = "Unknown member 'city'; this request takes networkIds, deviceTypeIds, deviceIds, labels, percent"
TYPE = "changes[0]: contentType must be a media type such as application/json"
FULL = "Layer 'full' holds 1,000 configurations, the most that a layer can"
DENIED = "Access is denied: "

Refusal = tuple[str, dict[str, Any], int, str]


def layers() -> list[Refusal]:
    """Of layers; most are about `layer/put`."""
    good = {"layer": "new", "rank": 7, "target": {}}
    label: dict[str, Any] = {"deviceId": "b", "labels": {}}
    puts: list[tuple[dict[str, Any], int, str]] = [
        ({"layer": None}, 400, "layer is required"),
        ({"rank": None}, 400, "target and rank are required"),
        ({"layer": "global"}, 403, "Layer 'global' is always there, and cannot be changed"),
        ({"layer": "A"}, 400, NAME),
        ({"layer": "a" * 33}, 400, NAME),
        ({"rank": 0}, 400, "rank must be between 1 and 9,999"),
        ({"rank": 10_000}, 400, "rank must be between 1 and 9,999"),
        ({"rank": 5}, 409, "Rank 5 belongs to layer 'cold'"),
        ({"target": {"city": ["bonn"]}}, 400, UNKNOWN),
        ({"target": {"percent": 0}}, 400, "target.percent must be over 0, and at most 100"),
        ({"target": {"percent": 101}}, 400, "target.percent must be over 0, and at most 100"),
        ({"target": {"networkIds": []}}, 400, "target.networkIds must have 1 to 1,000 elements"),
        ({"target": {"deviceIds": ["a b"]}}, 400, "target.deviceIds: 'a b' is not a device id"),
        ({"target": {"labels": {str(n): None for n in range(33)}}}, 400, "target.labels must have at most 32 labels"),
        ({"target": {"labels": {"a": []}}}, 400, "target.labels: 'a' must have 1 to 1,000 values, or be null"),
        ({"target": {"labels": {"a": ["x" * 65]}}}, 400, TARGET),
        ({"target": {"labels": {"": None}}}, 400, TARGET),
        ({"layer": "cold"}, 409, "Layer 'cold' has open rollout 2"),
    ]
    return [
        *(("layer/put", good | changed, code, text) for changed, code, text in puts),
        ("layer/put", good | {"layer": "full", "revision": 1}, 409, "Layer 'full' is at revision 18, not 1"),
        ("device/label", label | {"revision": 1}, 409, "The label record of device 'b' is at revision 11, not 1"),
        ("device/label", label | {"entityVersion": 7}, 409, "The label record of device 'b' is at version 1, not 7"),
        ("device/label", {"deviceId": "x", "labels": {}}, 404, "Device with such deviceId = x not found"),
        ("device/effective", {"deviceId": "x"}, 404, "Device with such deviceId = x not found"),
        ("layer/list", {"layer": "x"}, 404, "Layer 'x' does not exist"),
        ("layer/list", {}, 413, TooLarge.text),
        ("layer/delete", {"layer": "x"}, 404, "Layer 'x' does not exist"),
        ("layer/delete", {"layer": "cold"}, 409, "Layer 'cold' holds 2 configurations"),
        ("configuration/put", {"name": "n", "value": "v", "layer": "x"}, 404, "Layer 'x' does not exist"),
        (
            "configuration/list",
            {"layer": "A"},
            400,
            NAME + ", or is device/ID",
        ),
    ]


def rollouts() -> list[Refusal]:
    """Of rollouts; most are about `rollout/start`."""
    good = {"layer": "global", "changes": put(m="2"), "steps": ALL}
    starts: list[tuple[dict[str, Any], int, str]] = [
        ({"layer": None}, 400, "layer, steps, and either changes or undo are required"),
        ({"layer": "x"}, 404, "Layer 'x' does not exist"),
        ({"changes": put(n="1")}, 409, "This rollout changes nothing: the layer says all that already"),
        ({"changes": put(**{f"n{n}": "1" for n in range(101)})}, 400, "changes must be a list of 1 to 100"),
        ({"changes": put(m="2") * 2}, 400, "'m' occurs twice in changes"),
        ({"changes": [{"operation": "move", "name": "m"}]}, 400, "changes[0]: operation must be put or delete"),
        ({"changes": put(m="")}, 400, str(violations([("value", None, "value field cannot be null.")]))),
        ({"changes": [{**put(m="2")[0], "contentType": "text"}]}, 400, TYPE),
        ({"layer": "full", "changes": put(m="2")}, 400, FULL),
        ({"changes": put(m="2" * 70_000)}, 400, "changes[0]: Value is longer than 65,536 characters"),
        ({"layer": "cold", "changes": put(x="2")}, 409, "Configuration 'x' of layer 'cold' is held by rollout 2"),
        ({"changes": put(short="2")}, 409, "Configuration 'short' of layer 'global' expires"),
        ({"steps": [{"percent": 50}]}, 400, 'the last step must be {"percent":100}'),
        ({"steps": [{}, *ALL]}, 400, "steps[0] names no devices"),
        ({"steps": [{"percent": 101}, *ALL]}, 400, "steps[0]: percent must be over 0, and at most 100"),
        ({"steps": [{"percent": 50}, *MIXED, {"percent": 20}, *ALL]}, 400, "steps[3]: percent" + OVER.format(50)),
        ({"steps": [{"percent": 50}, *MIXED, *ALL, *ALL]}, 400, "steps[4]: percent" + OVER.format(100)),
        ({"steps": [{"percent": 1}] * 20 + ALL}, 400, "steps must be a list of 1 to 20"),
        ({"gate": {"success": 101}}, 400, "gate.success must be between 0 and 100"),
        ({"gate": {"wait": -1}}, 400, "gate.wait must be between 0 and 31,536,000"),
        ({"gate": {"onFailure": "cry"}}, 400, "gate.onFailure must be hold or rollback"),
        ({"salt": ""}, 400, "salt must have 1 to 64 characters"),
        ({"at": "soon"}, 400, "at is not a timestamp: milliseconds since 1970, or ISO 8601"),
        ({"changes": None, "undo": 2}, 400, "Rollout 2 is one of layer 'cold'"),
        ({"changes": None, "undo": 2, "layer": "cold"}, 409, "Rollout 2 is held; it cannot be undone"),
    ]
    completed = "Rollout 1 is completed; it cannot be "
    return [
        *(("rollout/start", good | changed, code, text) for changed, code, text in starts),
        ("rollout/list", {"state": "odd"}, 400, STATES + "scheduled, running, held, completed, rolledBack, failed"),
        ("rollout/get", {}, 400, "rollout is required"),
        ("rollout/get", {"rollout": 9}, 404, "Rollout 9 does not exist"),
        ("rollout/hold", {"rollout": 1}, 409, completed + "held"),
        ("rollout/resume", {"rollout": 1}, 409, completed + "resumed"),
        ("rollout/resume", {"rollout": 2, "step": 3}, 400, "step must be between 1 and 2"),
        ("rollout/rollback", {"rollout": 1}, 409, completed + "rolled back: start its undoing changes as a rollout"),
        ("fleet/count", {"rollout": 1}, 404, "Rollout 1 is not open"),
        ("fleet/list", {"state": "odd"}, 400, STATES + "refused, pending, local, applied"),
    ]


def schemas() -> list[Refusal]:
    """Of schemas and schedules."""
    long = "names is 129 characters long; at most 128, setting name_length"
    misfit = "Stored configurations do not fit this schema: 'n': False schema does not allow 1 (and 1 more)"
    star = "name pattern 'a*b': '*' is allowed at the end only"
    either = "give name and value, schema and value, or names and schema"
    return [
        ("schema/put", {"names": "n"}, 400, "give schema, secret, or both"),
        ("schema/put", {"schema": True}, 400, "names is required"),
        ("schema/put", {"names": "a*b", "schema": True}, 400, star),
        ("schema/put", {"names": "n" * 129, "schema": True}, 400, long),
        ("schema/put", {"names": "jwt.secret", "schema": True}, 403, DENIED + "the name 'jwt.secret' is reserved"),
        ("schema/put", {"names": "n", "schema": 1}, 400, "schema: a schema is an object, true or false"),
        ("schema/put", {"names": "n", "schema": False}, 409, misfit),
        (
            "schema/put",
            {"names": "typed", "schema": True, "entityVersion": 9},
            409,
            "The schema of 'typed' is at version 1, not 9",
        ),
        ("schema/delete", {"names": "x"}, 404, "There is no schema for 'x'"),
        ("schema/list", {"names": "x"}, 404, "There is no schema for 'x'"),
        ("schema/history", {"names": "x"}, 404, "There is no schema for 'x'"),
        ("schema/check", {"name": "n"}, 400, either),
        ("schema/check", {"names": "n", "value": "1"}, 400, either),
        ("schema/list", {}, 413, TooLarge.text),
        ("schema/history", {"names": "big"}, 413, TooLarge.text),
        ("schedule/list", {"schedule": 9}, 404, "There is no schedule 9"),
        ("schedule/list", {"skip": -1}, 400, "skip must not be negative"),
        ("schedule/cancel", {}, 400, "schedule is required"),
        ("schedule/cancel", {"schedule": 9}, 404, "There is no schedule 9"),
    ]


def of_devices() -> list[Refusal]:
    """Of what devices say; the caller is the device."""
    many = [{"name": f"n{number}", "tag": "t"} for number in range(257)]
    bytes_ = [{"name": f"n{n}", "value": "x" * 1_000} for n in range(40)]
    return [
        ("device/report", {"report": []}, 429, "Report again in 1000 ms"),
        ("device/report", {}, 400, "report is required"),
        ("device/report", {"report": [{"tag": "t"}]}, 400, "each entry of report needs a name"),
        ("device/report", {"report": many}, 413, "a report has at most 256 names"),
        ("device/report", {"report": bytes_}, 413, "a report has at most 32,768 bytes"),
        ("device/report", {"report": [{"name": "x" * 1_025}]}, 413, "name of an entry has at most 1,024 characters"),
        (
            "device/report",
            {"report": [{"name": "n", "value": "x" * 1_025}]},
            413,
            "value of an entry has at most 1,024 characters",
        ),
        (
            "device/report",
            {"report": [{"name": "n", "tag": "t", "error": "x" * 257}]},
            413,
            "error of an entry has at most 256 characters",
        ),
    ]


def refused_rights(world: World) -> list[tuple[Caller, Refusal]]:
    """Of callers that may not do this."""
    some = world.caller(c=["n"])
    secret = "The values of 'key' are secret: to change this needs RevealSecret"
    reading, stranger = world.caller(a=[100]), world.caller(a=[101], d=["b"])
    limited = DENIED + "the layer's target is not limited to networks of the token"
    label = {"deviceId": "a", "labels": {"site": "ulm"}}
    not_its = DENIED + "the token is not one of device 'a'"
    narrow, of_m = world.caller(a=[101], d=["a"], c=["n"]), {"report": [{"name": "m", "value": "1"}]}
    return [
        (world.caller(ANN), ("layer/put", {"layer": "new", "rank": 7, "target": {}}, 403, limited)),
        (
            some,
            (
                "layer/delete",
                {"layer": "cold", "force": True},
                403,
                DENIED + "layer 'cold' holds names that the token does not reach",
            ),
        ),
        (world.caller(a=[13, 100]), ("schema/delete", {"names": "key"}, 403, secret)),
        (some, ("schedule/cancel", {"schedule": 2}, 404, "There is no schedule 2")),
        (reading, ("device/label", label, 403, DENIED + "this needs ManageConfiguration")),
        (stranger, ("device/report", {"deviceId": "a", "report": []}, 403, not_its)),
        (narrow, ("device/report", of_m, 403, DENIED + "the name 'm' is not among those of the token")),
        (stranger, ("device/effective", {"deviceId": "a"}, 403, not_its)),
    ]


def raised(error: BaseException) -> tuple[str, int]:
    """The file and the line in one of the modules at which an error was raised."""
    files = {module.__file__ for module in MODULES}
    found = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return (found[-1].filename, found[-1].lineno or 0) if found else ("", 0)


def untried(tried: set[tuple[str, int]]) -> list[str]:
    """The statements of the modules that raise an error and were not reached."""
    found = []
    for module in MODULES:
        assert module.__file__ is not None
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None:
                lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                if not any((module.__file__, line) in tried for line in lines):
                    found.append(ast.unparse(node))
    return found


IN_VAIN = {"raise no_device(device.id)"}
"""What is not reached: the device was found a moment before."""


async def test_each_refusal_has_its_words() -> None:
    """Exactly these, and nothing is written. A new refusal needs a row here."""
    async with fleet_of("a", "b") as world:
        await world.layer("cold", 5, labels={"site": ["bonn"]})
        await world.put("cold", n="1", other="1")
        await world.put("global", n="1")
        await world.label("b", site="ulm")
        await world.do("configuration/put", name="short", value="1", layer="global", ttl=60)
        await world.layer("empty", 6, labels={"site": ["nowhere"]})
        assert await start(world, layer="empty", done="1") == 1
        await judge(world)
        assert await start(world, {"deviceIds": ["a"]}, layer="cold", x="1") == 2
        await world.do("rollout/hold", rollout=2)
        await world.layer("full", 8)
        await world.put("full", **{f"n{number}": "1" for number in range(1_000)})
        long = {f"label{number}": [f"{value:064}" for value in range(1_000)] for number in range(17)}
        await world.layer("long", 9, labels=long)  # a list with it is too long for an answer
        await world.do("schema/put", names="typed", schema=True)
        await world.do("schema/put", names="key", secret=True)
        for number in range(17):  # together they are too long for an answer
            for names in ("big", f"big{number}"):
                await world.do("schema/put", names=names, schema={"description": "x" * 65_000})
        later = {"operation": "put", "name": "m", "value": "1", "layer": "global"}
        await world.do("configuration/transact", changes=[later], at=world.clock.time + 60_000)
        own = world.caller(a=[101], d=["a"])
        for _ in range(20):
            await world.do("device/report", own, report=[])
        rows: list[tuple[Caller, Refusal]] = [(world.admin, each) for each in (*layers(), *rollouts(), *schemas())]
        rows += [*((own, each) for each in of_devices()), *refused_rights(world)]
        tried: set[tuple[str, int]] = set()
        before = world.ledger.revision
        for caller, (action, members, code, text) in rows:
            try:
                await world.do(action, caller, **members)
            except WireError as error:
                assert (error.code, str(error)) == (code, text), (action, members)
                tried.add(raised(error))
            else:
                raise AssertionError(f"{action} {members} was not refused: {text}")
        assert world.ledger.revision == before
        assert {*untried(tried)} <= IN_VAIN
