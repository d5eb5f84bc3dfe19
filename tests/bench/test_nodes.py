"""The NATS servers that tests and measurements start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.nodes import Nodes, Refused, find


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    if find() is None:
        pytest.skip("no `nats-server` here")
    with Nodes(tmp_path_factory.mktemp("nodes")) as found:
        yield found


def stream(name: str, **more: object) -> bytes:
    return json.dumps({"name": name, "subjects": [f"{name}.>"], "storage": "file", "num_replicas": 3, **more}).encode()


def test_a_cluster_goes_on_without_its_leader_and_the_leader_comes_back(nodes: Nodes) -> None:
    """The stream gets another leader, and what was stored meanwhile is on all three nodes afterwards."""
    nodes.ask("$JS.API.STREAM.CREATE.killed", stream("killed"))
    leader = nodes.next_leader("killed")
    leader.kill()
    assert not leader.running
    successor = nodes.next_leader("killed", leader)
    assert successor.ask("killed.one", b"1")["seq"] == 1
    leader.start()
    leader.wait_until_ready()
    assert nodes.ask("$JS.API.STREAM.INFO.killed")["state"]["messages"] == 1


def test_a_leader_steps_down(nodes: Nodes) -> None:
    """Another node leads then."""
    nodes.ask("$JS.API.STREAM.CREATE.stepped", stream("stepped"))
    leader = nodes.next_leader("stepped")
    nodes.step_down("stepped")
    assert nodes.next_leader("stepped", leader) is not leader


def test_a_paused_node_answers_nothing_until_it_goes_on(nodes: Nodes) -> None:
    """Its connections stay open meanwhile."""
    nodes[0].pause()
    with pytest.raises(TimeoutError):
        nodes[0].ask("$JS.API.INFO")
    nodes[0].resume()
    nodes[0].wait_until_ready()
    assert nodes[0].ask("$JS.API.INFO")["streams"] >= 0


def test_what_jetstream_refuses_is_an_error_with_its_number(nodes: Nodes) -> None:
    """A stream that is not there is one."""
    with pytest.raises(Refused) as raised:
        nodes.ask("$JS.API.STREAM.INFO.nothing")
    assert raised.value.code == 10059


def test_a_node_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    """So that nobody has to look for it."""
    if find() is None:
        pytest.skip("no `nats-server` here")
    with pytest.raises(RuntimeError, match="unknown field"), Nodes(tmp_path, 1, more="nonsense: true\n"):
        pass
