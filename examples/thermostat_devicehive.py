"""A thermostat, with DeviceHive's own Python client: a device that reports its temperature and obeys `set`.

    pip install devicehive
    HIVEWIRE_PASSWORD=... python thermostat_devicehive.py thermostat-2

A command that is sent while it is off or without a connection waits at the gateway for a day. The file of the
thermostat (thermostat-2.json) says how far it has come, so that it obeys every command, and in order, also after a
restart. One that it was busy with when it was cut off is done again.

HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
HIVEWIRE_TOKEN   a refresh token, with which the client gets an access token whenever it needs one; or else
HIVEWIRE_LOGIN   the login (admin), with
HIVEWIRE_PASSWORD
"""

import argparse
import json
import logging
import os
import random
import sys
import time
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from typing import Any

try:
    from devicehive import ApiResponseError, DeviceHive, Handler, TransportError
    from devicehive.api import Api
except ImportError:
    raise SystemExit("this needs DeviceHive's client: pip install devicehive") from None

URL = os.environ.get("HIVEWIRE_URL", "http://127.0.0.1:8080")
STEP = 0.5  # degrees between two reports
EVER = "2000-01-01T00:00:00.000"  # no command is older
# The client looks for news a million times a second unless it is told otherwise. The gateway pings every 20 s: after
# 60 s (`timeout`) without a byte the connection is dead.
CALM = {"transport_alive_sleep_time": 0.1, "event_queue_sleep_time": 0.02, "response_sleep_time": 0.002, "timeout": 60}


class Thermostat:
    """What it measures, what it was told, and the time of the last command that it has done."""

    def __init__(self, device: str, file: Path, every: float) -> None:
        self.device, self.file, self.every = device, file, every
        kept = json.loads(file.read_text()) if file.exists() else {}
        self.target: float = kept.get("target", 20.0)
        self.done: str = kept.get("done", EVER)
        self.temperature = 20.0
        self.failures = 0  # since the last connection

    def report(self, device: Any) -> None:
        """Tell the temperature."""
        self.temperature += max(-STEP, min(STEP, self.target - self.temperature))
        now = {"temperature": round(self.temperature, 1), "target": self.target}
        device.send_notification("temperature", parameters=now)

    def obey(self, command: Any) -> None:
        """Do a command and say what came of it, unless it was done before."""
        if command.status is None:
            self.do(command)
        self.done = command.timestamp
        self.save()

    def do(self, command: Any) -> None:
        """Do a command and save its status and result."""
        target = (command.parameters or {}).get("target")
        if isinstance(target, int | float) and 5 <= target <= 30:
            self.target = float(target)
            command.status, command.result = "done", {"target": self.target}
        else:
            command.status, command.result = "failed", {"reason": "the target must be a number from 5 to 30"}
        self.save()  # before the answer: what is said to be done is done, also after a power cut
        command.save()
        print(f"set {target}: {command.status}", flush=True)

    def save(self) -> None:
        """Replace the file atomically: after a crash it is the old one or the new one."""
        temporary = self.file.with_name(f".{self.file.name}")
        with temporary.open("w") as handle:
            json.dump({"target": self.target, "done": self.done}, handle)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(self.file)


class Connection(Handler):
    """One connection of the thermostat. The client calls the `handle_` methods in a thread of its own."""

    def __init__(self, api: Api, thermostat: Thermostat) -> None:
        super().__init__(api)
        self.thermostat = thermostat
        self.news = Event()
        self.error: Exception | None = None

    def handle_connect(self) -> None:
        """Register and follow the commands. The client calls no other method before this one returns."""
        try:
            self.device = self.api.get_device(self.thermostat.device)
        except ApiResponseError:  # it is new. To put one that is there would replace its name and `data`
            self.device = self.api.put_device(self.thermostat.device, name="Thermostat")
        self.device.subscribe_insert_commands(names=["set"])
        self.thermostat.failures = 0
        print(f"{self.device.id} is connected", flush=True)
        Thread(target=self.serve, daemon=True).start()

    def handle_command_insert(self, command: Any) -> None:
        """A push says that there is a command. `serve` reads it, together with those that no push told us of."""
        self.news.set()

    def serve(self) -> None:
        """Report and obey until the connection is lost."""
        try:
            while self.api.connected:
                if not any(thread.name == "websocket-transport-event" for thread in enumerate_threads()):
                    raise TransportError("closed by the gateway")  # the client does not tell, but reads no more
                self.news.clear()
                since = {"start": self.thermostat.done, "sort_field": "timestamp", "sort_order": "ASC"}
                for command in self.device.list_commands(command="set", take=100, **since):
                    self.thermostat.obey(command)
                self.thermostat.report(self.device)
                self.news.wait(self.thermostat.every)
        except Exception as error:
            self.error = error
            if self.api.connected:
                self.api.disconnect()


def connect(thermostat: Thermostat) -> None:
    """One connection, until it is lost. Raises what it was lost by."""
    credentials = {"refresh_token": os.environ.get("HIVEWIRE_TOKEN")}
    if not credentials["refresh_token"]:
        credentials = {
            "login": os.environ.get("HIVEWIRE_LOGIN", "admin"),
            "password": os.environ.get("HIVEWIRE_PASSWORD"),
        }
        if not credentials["password"]:
            raise SystemExit("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
    # The client connects again by itself, but keeps the error of its last connection and so ends each new one: we do
    # it, with a new client each time.
    client = DeviceHive(Connection, thermostat)
    try:
        client.connect(URL.replace("http", "ws", 1) + "/api/websocket", max_num_connect=0, **CALM, **credentials)
    finally:
        if client.transport.connected:
            client.transport.disconnect()
        client.transport._websocket.shutdown()  # the client leaves the socket of a lost connection open
    if client.handler.error is not None:
        raise client.handler.error


def main() -> None:
    parser = argparse.ArgumentParser(description="A thermostat that reports its temperature and can be set.")
    parser.add_argument("device", nargs="?", default="thermostat-2", help="its id (thermostat-2)")
    parser.add_argument("--every", type=float, default=5, metavar="SECONDS", help="time between two reports (5)")
    parser.add_argument("--file", type=Path, help="what it remembers (DEVICE.json in this directory)")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # of the client; we say what went wrong
    thermostat = Thermostat(options.device, options.file or Path(f"{options.device}.json"), options.every)
    while True:
        try:
            connect(thermostat)
            return
        except ApiResponseError as refused:
            if refused.code not in (401, 429, 503):
                raise SystemExit(f"refused: {refused}") from None
            why = str(refused)
        except (TransportError, OSError) as lost:
            why = str(lost) or "no answer"
        # Exponential back-off with jitter, so that not all devices come back at once.
        wait = min(60.0, 0.25 * 2 ** min(thermostat.failures, 10)) * random.uniform(0.5, 1)
        thermostat.failures += 1
        print(f"{why}; next attempt in {wait:.1f} s", file=sys.stderr, flush=True)
        time.sleep(wait)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass  # asked to stop
