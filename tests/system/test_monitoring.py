"""`deploy/compose.yaml`, `kubernetes.yaml` and `monitoring/`: a gateway, and what watches it."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from bench import nodes
from hivewire import settings
from tests.running import RunningGateway
from tests.workers import FORKS

DEPLOY = Path("deploy")
MONITORING = DEPLOY / "monitoring"
UNIT = Path("docs/hivewire.service")
OPERATIONS = Path("docs/operations.md")


def manifests() -> list[Any]:
    return [*yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())]


def services() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def expressions() -> Iterator[str]:
    """Every expression of an alert and of the dashboard."""
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


@pytest.mark.skipif(nodes.find() is None, reason="no `nats-server` here: it is a package of PyPI")
def test_each_metric_that_is_watched_or_documented_is_there(
    shared_gateway: RunningGateway,
    clusters: Callable[[int], str],
    tmp_path: Path,
    certificate: tuple[Path, Path],
) -> None:
    """On the page of a single gateway, of one with workers and TLS, or of one that shares a log; and each one that is
    there is in the table of operations.md, with its kind and its sentence."""
    watched = {name for each in expressions() for name in re.findall(r"\b(?:hivewire|process)_\w+", each)}
    httpx.get(shared_gateway.rest_url + "/info")  # what has not happened yet has no sample
    store = ("--store", clusters(1).format(site="watched"), "--store-bytes=67108864")
    password = {"HIVEWIRE_STORE_PASSWORD": nodes.PASSWORD}
    tls = (f"--tls-certificate={certificate[0]}", f"--tls-key={certificate[1]}")
    verify = ssl.create_default_context(cafile=str(certificate[0]))
    with ExitStack() as stack:
        workers = stack.enter_context(RunningGateway(tmp_path / "workers.db", "--workers=2", *tls, main=FORKS))
        shared = stack.enter_context(RunningGateway(tmp_path / "copy.db", *store, env=password))
        pages = [httpx.get(f"{each.url}/metrics", verify=verify).text for each in (shared_gateway, workers, shared)]
    there = {name for page in pages for name in re.findall(r"^(\w+)", page, re.MULTILINE)}
    assert len(watched) > 25
    assert watched <= there, watched - there
    rows = {row for page in pages for row in metrics(page)}
    kinds = "counter|gauge|histogram"
    documented = re.findall(rf"^\| `\w+` \| (?:{kinds}) .*$", OPERATIONS.read_text(), re.MULTILINE)
    missing, gone = rows - {*documented}, {*documented} - rows
    assert not missing, f"the table of operations.md lacks {missing}"
    assert not gone, f"the table of operations.md has what no gateway has: {gone}"
    assert len(documented) == len(rows)


def metrics(page: str) -> Iterator[str]:
    """A row of the table for each metric of a page; a time of creation belongs to another metric."""
    for name, sentence, kind in re.findall(r"^# HELP (\w+) (.*)\n# TYPE \w+ (\w+)$", page, re.MULTILINE):
        if not name.endswith("_created"):
            yield f"| `{name}` | {kind} | {sentence} |"


def test_alerts_are_as_their_tests_say() -> None:
    """promtool takes the configuration, and the alerts fire when they should and not otherwise."""
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("no `promtool` here: it is in the Debian package prometheus")
    checks = (["check", "config", MONITORING / "prometheus.yaml"], ["test", "rules", MONITORING / "alerts_test.yaml"])
    for check in checks:
        found = subprocess.run([promtool, *map(str, check)], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr


def test_each_alert_is_tested_both_ways() -> None:
    """There is a case in which it fires, and one in which it does not."""
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    quiet, loud = yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())["tests"]
    names = sorted(rule["alert"] for rule in rules)
    assert sorted(case["alertname"] for case in quiet["alert_rule_test"]) == names
    assert sorted(case["alertname"] for case in loud["alert_rule_test"] if case["exp_alerts"]) == names
    assert not any(case.get("exp_alerts") for case in quiet["alert_rule_test"])


def test_panels_of_the_dashboard_are_in_places_of_their_own() -> None:
    """Each has its id, its place, and a source that is provisioned."""
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(panels)
    (source,) = yaml.safe_load((MONITORING / "datasource.yaml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels if "datasource" in panel} == {source["uid"]}


def test_the_compose_file_mounts_what_is_there() -> None:
    """Prometheus scrapes the gateway at its port, Grafana finds Prometheus, and nothing else of them is published."""
    mounts = [volume.split(":") for service in services().values() for volume in service["volumes"]]
    assert all((DEPLOY / source).exists() for source, *_ in mounts if source.startswith("."))
    inside = {target for source, target, *_ in mounts if source.startswith(".")}
    (provider,) = yaml.safe_load((MONITORING / "dashboards.yaml").read_text())["providers"]
    assert any(target.startswith(provider["options"]["path"]) for target in inside)
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    assert config["scrape_configs"][0]["static_configs"][0]["targets"] == ["hivewire:8080"]
    assert all(f"/etc/prometheus/{name}" in inside for name in config["rule_files"])
    assert all(port.startswith("127.0.0.1:") for service in services().values() for port in service.get("ports", ()))
    for service in services().values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


@pytest.mark.parametrize("manifest", manifests(), ids=lambda each: each["kind"])
def test_the_manifest_has_the_form_that_kubernetes_wants(manifest: Any) -> None:
    """Nothing in it is unknown to its schema."""
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_a_single_pod_keeps_its_file() -> None:
    """There is one at a time, which is found by the service, has no rights, and keeps its data in a claim."""
    service, stateful = manifests()
    pod = stateful["spec"]["template"]
    assert service["spec"]["selector"] == stateful["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert stateful["spec"]["replicas"] == 1
    assert (pod["spec"]["securityContext"]["runAsUser"], pod["spec"]["automountServiceAccountToken"]) == (10001, False)
    (container,) = pod["spec"]["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (claim,) = stateful["spec"]["volumeClaimTemplates"]
    assert f"HIVEWIRE_DATA={mounted[claim['metadata']['name']]}/" in (DEPLOY / "Dockerfile").read_text()


def test_the_gateways_are_given_settings_that_exist() -> None:
    """By variables, or by files whose names end so."""
    (container,) = manifests()[1]["spec"]["template"]["spec"]["containers"]
    given = {*services()["hivewire"]["environment"], *(each["name"] for each in container["env"])}
    known = {"HIVEWIRE_" + name.upper() for name in settings.names()}
    assert given <= known | {"HIVEWIRE_" + name for name in settings.SECRET_FILES}


def test_the_unit_gives_a_gateway_few_rights() -> None:
    """By the measure of systemd, which goes from 0 to 10, at most 2."""
    if (program := shutil.which("systemd-analyze")) is None:
        pytest.skip("no `systemd-analyze` here")
    if os.geteuid() != 0 and not os.path.exists("/run/systemd"):  # which it makes first
        pytest.skip("`systemd-analyze` works here for root alone")
    command = [program, "security", "--offline=true", "--no-pager", "--threshold=20", str(UNIT)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
