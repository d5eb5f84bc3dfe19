"""Small runs of the simulator of devices."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.running import PASSWORD, PATIENCE, RunningGateway, Talk


def fleet(*flags: str, **variables: str) -> subprocess.Popen[str]:
    """The simulator, running."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "bench.fleet", *flags], env={**plain, **variables}, **pipes)


def test_a_fleet_reports_and_obeys_on_a_gateway_of_its_own() -> None:
    """All devices are online, each command is done, and the summary says how that went."""
    with fleet("--devices", "20", "--seconds", "1.5", "--every", "0.2", "--commands", "40") as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output + errors
    assert re.search(r"^   1 s   20 of 20 online   \d+ reports/s   \d+ commands/s   p50 ", output, re.MULTILINE)
    assert "20 of 20 devices connected" in output
    sent = re.search(
        r"^([\d,]+) commands sent, ([\d,]+) of them done, 0 not yet; from request to result: p50 \d",
        output,
        re.MULTILINE,
    )
    assert sent and sent[1] == sent[2] != "0"
    assert re.search(r"^[\d.-]+ KiB of the gateway's memory for each device", output, re.MULTILINE)
    assert output.endswith("\n0 errors\n")


def test_a_fleet_leaves_nothing_on_somebody_elses_gateway(shared_gateway: RunningGateway, talk: Talk) -> None:
    """It ends at Ctrl-C with its summary, and its devices and their network are gone."""
    flags = ("--devices", "5", "--seconds", "600", "--every", "0.2", "--url", shared_gateway.url)
    with fleet(*flags, HIVEWIRE_PASSWORD=PASSWORD) as process:
        assert process.stdout is not None
        while "5 of 5 online" not in (line := process.stdout.readline()):
            assert line, process.communicate()
        found = talk("network/list", namePattern="fleet-%")["networks"]
        assert len(found) == 1
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output + errors
    assert output.endswith("\n0 errors\n")
    assert talk("network/list", namePattern="fleet-%")["networks"] == []
    assert talk("device/list", networkId=found[0]["id"])["devices"] == []


def test_a_fleet_outlives_the_gateway(data: Path) -> None:
    """After a kill all devices are back, the errors are counted, and each command that was answered is done."""
    with RunningGateway(data) as gateway:
        flags = ("--devices", "5", "--seconds", "6", "--every", "0.2", "--url", gateway.url)
        with fleet(*flags, HIVEWIRE_PASSWORD=PASSWORD) as process:
            assert process.stdout is not None
            while "5 of 5 online" not in (line := process.stdout.readline()):
                assert line, process.communicate()
            gateway.stop(signal.SIGKILL)
            with RunningGateway(data, "--port", str(gateway.port)):
                while "5 of 5 online" not in (line := process.stdout.readline()):
                    assert line, process.communicate()
                output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, output + errors
    assert re.search(r"^\d+ x \S", output, re.MULTILINE), output
    *_, last = re.findall(r"^ *\d+ s   .*", output, re.MULTILINE)
    assert "5 of 5 online" in last
    assert "0 not yet" in output


def test_a_fleet_that_cannot_start_says_why(shared_gateway: RunningGateway) -> None:
    """A wrong password is one line, not a traceback."""
    with fleet("--devices", "5", "--url", shared_gateway.url, HIVEWIRE_PASSWORD="wrong") as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (1, "")
    assert re.fullmatch(r"the fleet could not start: 401 .*\n", errors)
