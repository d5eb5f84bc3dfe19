"""SIGHUP: settings, secrets and certificates are read again while the gateway goes on."""

from __future__ import annotations

import asyncio
import configparser
import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from hivewire import cli, reload, settings
from hivewire.ledger.retention import DAY
from hivewire.settings import Settings
from hivewire.transport import server
from hivewire_protocol import times
from tests.gate.wire import until
from tests.pages import ROOT
from tests.running import PASSWORD, PATIENCE, RunningGateway, make_certificate

OLD, NEW = "the secret of before, longer than 32 bytes", "the secret from now on, longer than 32 bytes"
SITE = "/@api/deki/site/properties"


class Configured:
    """A gateway whose settings are in a file."""

    def __init__(self, data: Path, text: str, **options: Any) -> None:
        self.file = data.with_name("settings.toml")
        self.file.write_text(text)
        env = {"HIVEWIRE_JWT_SECRET": "", "HIVEWIRE_CONFIG": str(self.file)}
        self.gateway = RunningGateway(data, env=env, **options)

    def reload(self, text: str | None = None, event: str = "reloaded") -> dict[str, Any]:
        """Send SIGHUP with this in the file; the line of the log that says what came of it."""
        if text is not None:
            self.file.write_text(text)
        before = len(self.gateway.events(event))
        os.kill(self.gateway.process.pid, signal.SIGHUP)
        until(lambda: len(self.gateway.events(event)) > before)
        return self.gateway.events(event)[-1]


def test_limits_and_secrets_are_read_again(data: Path) -> None:
    """Reloadable settings change at once, also for open connections; settings that need a restart are named and
    stay."""
    configured = Configured(data, f'jwt_secret = "{OLD}"\nname_length = 32\nhistory = 50')
    with configured.gateway as gateway, gateway.socket() as talk, gateway.http() as http:
        name = "x" * 40
        assert talk("configuration/put", name=name, value="1")["code"] == 400
        text = f'jwt_secret = "{OLD}"\nname_length = 64\nhistory = 60\napi_key = "a new key for everything"'
        told = configured.reload(text + '\nserver_tokens = "wiki:a-secret-of-servers"')
        assert told["changed"] == ["api_key", "name_length", "server_tokens"]
        until(lambda: gateway.events("settings have changed that need a restart"))
        [left] = gateway.events("settings have changed that need a restart")
        assert (left["settings"], left["level"]) == (["history"], "warning")
        assert talk("configuration/put", name=name, value="1")["status"] == "success"
        assert http.put(f"/configuration/{name}", json={"value": "2"}).status_code == 200
        assert httpx.get(gateway.url + SITE, params={"apikey": "a new key for everything"}).status_code == 200
        assert configured.reload(text)["changed"] == ["server_tokens"]
        assert gateway.stop() == 0


def test_a_new_signing_secret_ends_tokens_without_a_restart(data: Path) -> None:
    """On open sockets too, unless the one before is accepted for a time."""
    configured = Configured(data, f'jwt_secret = "{OLD}"')
    with configured.gateway as gateway, gateway.socket() as talk, gateway.http() as http:
        assert talk("configuration/subscribe", snapshot=False)["status"] == "success"
        previous = f'jwt_secret = "{NEW}"\njwt_previous_secret = "{OLD}"\njwt_previous_until = "2100-01-01T00:00:00"'
        configured.reload(previous)
        assert http.get("/configuration").status_code == 200
        assert talk("configuration/list")["status"] == "success"
        configured.reload(f'jwt_secret = "{NEW}"')
        assert http.get("/configuration").status_code == 401
        assert talk.receive() == {"action": "subscription/paused", "subscriptionId": 1, "reason": "Token revoked"}
        assert talk("configuration/list")["error"] == "Token revoked"
        with gateway.http() as later:
            assert later.get("/configuration").status_code == 200


def test_the_time_of_the_previous_secret_counts_on_open_sockets_too(data: Path) -> None:
    """A socket whose token would live for half an hour gets `token/expiring` when its key is about to expire."""
    configured = Configured(data, f'jwt_secret = "{OLD}"')
    with configured.gateway as gateway, gateway.socket() as talk:
        assert talk("configuration/subscribe", snapshot=False)["status"] == "success"
        until_ = times.render(time.time_ns() // 1_000_000 + 1_000)
        configured.reload(f'jwt_secret = "{NEW}"\njwt_previous_secret = "{OLD}"\njwt_previous_until = "{until_}"')
        assert talk.receive() == {"action": "token/expiring", "subscriptionId": 1, "expires": until_}
        assert talk.receive() == {"action": "subscription/paused", "subscriptionId": 1, "reason": "Token expired"}
        assert talk("configuration/list")["error"] == "Token expired"


@pytest.mark.parametrize(
    "text", ["name_length = 0", "no_such_setting = 1", "name_length =", 'jwt_secret = "short"', 'tls_key = "x"']
)
def test_settings_that_are_wrong_change_nothing(data: Path, text: str) -> None:
    """The log says what is wrong, and the gateway keeps its settings."""
    configured = Configured(data, f'jwt_secret = "{OLD}"\nvalue_length = 5')
    with configured.gateway as gateway, gateway.socket() as talk:
        told = configured.reload(text, event="the settings were not reloaded")
        assert told["level"] == "error"
        assert "short" not in told["reason"].replace("shorter", "")
        assert talk("configuration/put", name="a", value="123456")["code"] == 400
        assert talk("configuration/put", name="a", value="12345")["status"] == "success"


def test_the_log_level_is_a_setting_and_read_again(data: Path) -> None:
    """With `error` a failed login leaves no line, with `info` it does."""
    configured = Configured(data, "")
    with configured.gateway as gateway:

        def fail() -> None:
            httpx.post(gateway.rest_url + "/token", json={"login": "nobody", "password": PASSWORD})

        fail()
        until(lambda: len(gateway.events("authentication failed")) == 1)
        configured.file.write_text('log_level = "error"')
        os.kill(gateway.process.pid, signal.SIGHUP)
        until(lambda: fail() or _quiet(gateway))
        configured.reload("")
        before = len(gateway.events("authentication failed"))
        fail()
        until(lambda: len(gateway.events("authentication failed")) == before + 1)


def _quiet(gateway: RunningGateway) -> bool:
    """Whether a failed login has left no line: the counter has it, the log has not."""
    text = httpx.get(gateway.url + "/metrics").text
    [counted] = [line for line in text.splitlines() if line.startswith("hivewire_failed_authentications_total ")]
    return float(counted.split()[1]) > len(gateway.events("authentication failed")) + 1


def with_tls(data: Path, certificate: tuple[Path, Path], **options: Any) -> tuple[Configured, tuple[Path, Path]]:
    """A gateway with TLS files of its own, copies of these."""
    files = (data.with_name("chain.pem"), data.with_name("key.pem"))
    for source, copy in zip(certificate, files, strict=True):
        copy.write_bytes(source.read_bytes())
    return Configured(data, f'tls_certificate = "{files[0]}"\ntls_key = "{files[1]}"', **options), files


def test_a_certificate_is_replaced_while_connections_go_on(data: Path, certificate: tuple[Path, Path]) -> None:
    """New connections get the new one; one that is open stays; one that does not fit its key changes nothing."""
    configured, files = with_tls(data, certificate)
    with configured.gateway as gateway:
        old = ssl.create_default_context(cafile=str(certificate[0]))
        with httpx.Client(base_url=gateway.url, verify=old) as open_:
            assert open_.get("/health/live").status_code == 200
            replacement = make_certificate(data.parent / "replacement")
            files[0].write_bytes(replacement[0].read_bytes())
            configured.reload(event="the settings were not reloaded")
            assert httpx.get(gateway.url + "/health/live", verify=old).status_code == 200
            files[1].write_bytes(replacement[1].read_bytes())
            told = configured.reload()
            assert told["changed"] == ["tls_certificate"]
            assert DAY < times.parse(told["expires"]) - time.time() * 1_000 <= 2 * DAY
            page = open_.get("/metrics").text
            shown = page.partition("\nhivewire_certificate_expiry_timestamp_seconds ")[2].partition("\n")[0]
            assert float(shown) * 1_000 == times.parse(told["expires"])
            again = configured.reload()
            assert (again["changed"], "expires" in again) == ([], False)
            new = ssl.create_default_context(cafile=str(replacement[0]))
            assert httpx.get(gateway.url + "/health/live", verify=new).status_code == 200
            with pytest.raises(httpx.ConnectError):
                httpx.get(gateway.url + "/health/live", verify=old)
            assert open_.get("/health/live").status_code == 200


def replacing() -> None:
    """The command, with a certificate that is replaced as soon as it was checked: its key comes a moment later."""
    check = vars(reload)["check_tls"]

    def checked(settings: Settings) -> Any:
        found = check(settings)
        Path(str(settings.tls_certificate)).write_bytes(Path(f"{settings.tls_certificate}.next").read_bytes())
        return found

    vars(reload)["check_tls"] = checked
    cli.main()


def test_a_certificate_that_is_replaced_during_a_reload_does_not_break_it(
    data: Path, certificate: tuple[Path, Path]
) -> None:
    """What was checked is used, and not what is there by then. The next reload takes that."""
    configured, files = with_tls(data, certificate, main="tests.system.test_reload:replacing")
    replacement = make_certificate(data.parent / "replacement")
    files[0].with_name(files[0].name + ".next").write_bytes(replacement[0].read_bytes())
    with configured.gateway as gateway:
        configured.reload()
        old = ssl.create_default_context(cafile=str(certificate[0]))
        assert httpx.get(gateway.url + "/health/live", verify=old).status_code == 200
        files[1].write_bytes(replacement[1].read_bytes())
        configured.reload()
        new = ssl.create_default_context(cafile=str(replacement[0]))
        assert httpx.get(gateway.url + "/health/live", verify=new).status_code == 200


def test_an_encrypted_key_changes_nothing(data: Path, certificate: tuple[Path, Path]) -> None:
    """OpenSSL would ask for its passphrase on the terminal, and nobody would be served until somebody types it."""
    configured, files = with_tls(data, certificate)
    with configured.gateway as gateway:
        encrypt = ("openssl", "pkey", "-in", str(certificate[1]), "-aes256", "-passout", "pass:phrase", "-out")
        subprocess.run([*encrypt, str(files[1])], check=True)
        told = configured.reload(event="the settings were not reloaded")
        assert f"the private key in tls_key {files[1]} is encrypted" in told["reason"]
        verify = ssl.create_default_context(cafile=str(certificate[0]))
        assert httpx.get(gateway.url + "/health/live", verify=verify).status_code == 200
        assert gateway.noise == []


@pytest.mark.parametrize("number", [0, 1])
def test_a_pipe_in_place_of_a_tls_file_changes_nothing(data: Path, certificate: tuple[Path, Path], number: int) -> None:
    """Who opens it waits until somebody writes to it, and nobody would be served meanwhile."""
    configured, files = with_tls(data, certificate)
    with configured.gateway as gateway:
        files[number].unlink()
        os.mkfifo(files[number])
        told = configured.reload(event="the settings were not reloaded")
        assert f"{files[number]}: it is not a regular file" in told["reason"]
        verify = ssl.create_default_context(cafile=str(certificate[0]))
        assert httpx.get(gateway.url + "/health/live", verify=verify).status_code == 200


def test_a_pipe_in_place_of_the_settings_changes_nothing(data: Path) -> None:
    """The same for the settings themselves."""
    configured = Configured(data, 'log_level = "info"')
    with configured.gateway as gateway:
        configured.file.unlink()
        os.mkfifo(configured.file)
        assert "it is not a regular file" in configured.reload(event="the settings were not reloaded")["reason"]
        assert httpx.get(gateway.url + "/health/live").status_code == 200


def test_tls_that_is_taken_away_needs_a_restart(data: Path, certificate: tuple[Path, Path]) -> None:
    """Also when its files are gone: the gateway goes on with the certificate that it has."""
    configured, files = with_tls(data, certificate)
    with configured.gateway as gateway:
        for file in files:
            file.unlink()
        assert configured.reload("name_length = 64")["changed"] == ["name_length"]
        until(lambda: gateway.events("settings have changed that need a restart"))
        [left] = gateway.events("settings have changed that need a restart")
        assert left["settings"] == ["tls_certificate", "tls_key"]
        verify = ssl.create_default_context(cafile=str(certificate[0]))
        assert httpx.get(gateway.url + "/health/live", verify=verify).status_code == 200


def test_a_terminal_that_is_closed_ends_the_gateway(data: Path) -> None:
    """Its shell sends SIGHUP as well; nobody would notice a gateway that continues without its terminal."""
    master, slave = os.openpty()
    command = [sys.executable, "-m", "hivewire", "serve", "--port=0", f"--data={data}"]
    process = subprocess.Popen(command, stderr=slave, stdout=slave, start_new_session=True)
    os.close(slave)
    written = b""
    while b"Ctrl-C stops it." not in written:
        written += os.read(master, 4_096)
    process.send_signal(signal.SIGHUP)
    while b"reloaded" not in written:
        written += os.read(master, 4_096)
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE) == -signal.SIGHUP


def test_a_reload_during_the_start_does_not_end_the_unit() -> None:
    """SIGHUP kills a process that does not handle it yet; systemd takes that for a clean end, unless the unit says that
    it is none."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(ROOT / "docs" / "hivewire.service")
    assert unit["Service"]["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert unit["Service"]["Restart"] == "on-failure"
    assert unit["Service"]["RestartForceExitStatus"] == "SIGHUP"


async def test_a_reload_during_the_start_follows_it() -> None:
    """The start may have read the settings and the TLS files before they were changed."""
    loop, reloaded = asyncio.get_running_loop(), asyncio.Event()
    hung_up = server.stop_by_signal()
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await hung_up.wait()
        server.handle_signals(lambda number: None, reloaded.set, hung_up)
        async with asyncio.timeout(PATIENCE):
            await reloaded.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def test_a_terminal_that_is_closed_during_the_start_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file takes a while to load, and then nobody would know of the gateway."""
    loop, ended, on_terminal, kill = asyncio.get_running_loop(), asyncio.Event(), True, os.kill
    monkeypatch.setattr("os.isatty", lambda number: on_terminal)
    monkeypatch.setattr("os.kill", lambda process, number: ended.set())
    hung_up = server.stop_by_signal()
    on_terminal = False
    try:
        kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
        assert not hung_up.is_set()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


def test_what_is_reloaded_are_settings() -> None:
    """Only some are marked, and none that a running gateway cannot take."""
    assert {*settings.names()} > settings.RELOADED
    assert not {"host", "port", "data", "history", "trusted_proxies"} & settings.RELOADED
