"""The official JavaScript client of DeviceHive, as it comes from npm, against this gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gate.devicehive import unused
from tests.running import PASSWORD, PATIENCE, RunningGateway

PROGRAM = Path(__file__).parent / "clients" / "devicehive.cjs"
NODE_MODULES = Path(sys.prefix) / "clients" / "node_modules"

ONLY_OVER_HTTP = {
    *("command.poll", "command.pollMany", "command.wait", "notification.poll", "notification.pollMany"),
    *("info.getCacheInfo", "token.authPlugin", "token.createPluginToken"),
    *("user.getDeviceTypes", "user.unassignAllDeviceTypes", "user.assignAllDeviceTypes"),
    *("user.unassignDeviceType", "user.getDeviceType", "user.assignDeviceType"),
}
"""The package has no other way to them."""

PLUGINS = {"token.authPlugin", "token.createPluginToken"}
"""Not supported."""


@pytest.mark.parametrize(
    ("page", "without"), [("ws://127.0.0.1:{port}/dh/websocket", ONLY_OVER_HTTP), ("{url}/dh/rest", PLUGINS)]
)
def test_the_client_does_all_that_its_api_has(shared_gateway: RunningGateway, page: str, without: set[str]) -> None:
    """Networks, device types, users, devices, tokens, configurations, commands, notifications and subscriptions, as an
    administrator and as a client of one network: each method does what it says, and refusals have their words."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (NODE_MODULES / "devicehive").exists():
        pytest.skip("the npm package devicehive is not installed (make .venv/.clients)")
    url = page.format(port=shared_gateway.port, url=shared_gateway.url)
    auth = f"{shared_gateway.url}/auth/rest"
    command = ["node", str(PROGRAM), str(NODE_MODULES), url, auth, unused("js"), "admin", PASSWORD]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr
    used = json.loads(ran.stdout)
    assert set(used["all"]) - set(used["called"]) == without
