"""Where settings come from, and what is said about wrong ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from hivewire import app, settings
from hivewire.access.bootstrap import key_of
from hivewire.settings import Settings, SettingsError, StartError
from hivewire.transport.admission import SHARES


def refusal(
    flags: dict[str, str] | None = None, environment: dict[str, str] | None = None, file: Path | None = None
) -> str:
    with pytest.raises(SettingsError) as refused:
        settings.load(flags or {}, environment or {}, file)
    return str(refused.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hivewire.toml"


def test_without_any_setting_the_defaults_are_in_force() -> None:
    """Without any configured setting every setting has its default."""
    effective = settings.load({}, {})
    assert effective.settings == Settings()
    assert set(effective.sources.values()) == {"default"}
    assert set(effective.sources) == set(settings.names())


@pytest.mark.parametrize(
    ("given", "beyond"),
    [
        ({}, {}),
        ({"unfinished_bytes": 16 << 20}, {}),
        ({"unfinished_bytes": 2 << 20}, {"document_bytes": 16 << 20}),
        ({"message_bytes": 65 << 20}, {"message_bytes": 65 << 20}),
    ],
)
def test_limits_that_contradict_the_common_budget_cause_a_warning(
    given: dict[str, int], beyond: dict[str, int]
) -> None:
    """A message that does not fit into `unfinished_bytes` would be refused each time, as if others took the memory."""
    with capture_logs() as logged:
        app.check(structs.replace(Settings(), **given))
    assert [entry.items() >= beyond.items() for entry in logged] == [True] * bool(beyond)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"store": "nats://ann:secret@h1/s"}, "HIVEWIRE_STORE_PASSWORD"),
        ({"store": "http://h1/s"}, "begins with nats://"),
        ({"data": "postgres://ann:secret@h1/s"}, "data is the path of a file and not an address"),
        ({"store_monitor": "nats://ann:secret@h1"}, "HIVEWIRE_STORE_MONITOR_PASSWORD"),
        ({"store_monitor": "http://ann:secret@h1"}, "has the form http://HOST"),
        ({"otlp_endpoint": "http://ann:secret@127.0.0.1:4318"}, "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_an_address_with_a_password_is_refused_and_not_shown(given: dict[str, str], words: str) -> None:
    """Before anything is opened, and by `--check`: others see arguments, and a log keeps errors."""
    with pytest.raises(StartError, match=words) as refused:
        app.check(structs.replace(Settings(), **given))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["jwt_secret", "jwt_previous_secret"])
def test_a_secret_that_cannot_be_used_is_named(name: str) -> None:
    """By its setting, because there are two of them, and without the secret."""
    given = Settings(jwt_secret="x" * 32, jwt_previous_secret="y" * 32)
    with pytest.raises(StartError, match=f"^{name} is shorter than 32 bytes"):
        key_of(structs.replace(given, **{name: "short"}), "short", "short")


def test_by_default_the_gateway_listens_on_loopback() -> None:
    """Passwords are sent unencrypted over the network only if somebody configures that."""
    assert Settings().host == "127.0.0.1"


def test_the_bounds_that_the_pages_name_are_the_defaults() -> None:
    """The documented limits apply without any setting."""
    by_default = Settings()
    assert by_default.failed_authentications == 20
    assert (by_default.slow_seconds, by_default.login_seconds) == (60, 60)
    assert (by_default.anonymous_bytes, by_default.anonymous_bytes // SHARES) == (16 << 20, 1 << 20)
    assert by_default.anonymous_rate == 100
    assert (by_default.connections, by_default.connections_per_address) == (20_000, 5_000)


def test_every_setting_has_a_sentence() -> None:
    """Each setting says in one sentence what it does."""
    for name in settings.names():
        assert settings.sentence(name).endswith("."), name


def test_a_file_loses_to_the_environment_and_that_to_a_flag(file: Path) -> None:
    """The file is weakest and a flag is strongest; each setting tells where its value came from."""
    file.write_text('port = 1\nhost = "file"\nname_length = 10\nping_seconds = 5\n')
    environment = {"HIVEWIRE_PORT": "2", "HIVEWIRE_HOST": "environment", "PATH": "/bin"}
    effective = settings.load({"port": "3", "data": None}, environment, file)
    found = effective.settings
    assert (found.port, found.host, found.name_length, found.ping_seconds) == (3, "environment", 10, 5.0)
    assert found.data == Settings().data
    assert {name: effective.sources[name] for name in ("port", "host", "name_length", "data")} == {
        "port": "--port",
        "host": "HIVEWIRE_HOST",
        "name_length": str(file),
        "data": "default",
    }


def test_the_file_can_be_named_in_the_environment(file: Path, tmp_path: Path) -> None:
    """HIVEWIRE_CONFIG names the file, unless a flag names another one."""
    file.write_text("port = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("port = 2\n")
    environment = {"HIVEWIRE_CONFIG": str(file)}
    assert settings.load({}, environment).settings.port == 1
    assert settings.load({}, environment, other).settings.port == 2


def test_a_file_may_begin_with_a_byte_order_mark(file: Path) -> None:
    """Editors on Windows write one."""
    file.write_text("port = 1\n", "utf-8-sig")
    assert settings.load({}, {}, file).settings.port == 1


def test_an_empty_variable_is_as_good_as_none() -> None:
    """HIVEWIRE_PORT= does not hide the file's value or the default."""
    assert settings.load({}, {"HIVEWIRE_PORT": ""}).settings.port == 8080


@pytest.mark.parametrize("name", ["URL", "LOGIN", "PASSWORD", "TOKEN", "PROFILE"])
def test_what_clients_read_does_not_disturb_the_gateway(name: str) -> None:
    """The variables of the command line and of the examples may be set where a gateway is started."""
    assert settings.load({}, {f"HIVEWIRE_{name}": "x"}).settings == Settings()


def test_an_unknown_name_is_an_error_with_the_nearest_one(file: Path) -> None:
    """The error names the misspelt setting, its place and the nearest known one."""
    file.write_text("prot = 1\n")
    assert refusal(file=file) == f"{file}: unknown setting 'prot'; did you mean 'port'?"
    said = refusal(environment={"HIVEWIRE_NAME_LENGHT": "3"})
    assert said == "unknown environment variable HIVEWIRE_NAME_LENGHT; did you mean 'HIVEWIRE_NAME_LENGTH'?"
    assert "did you mean 'HIVEWIRE_PORT'" in refusal(environment={"HIVEWIRE_port": "3"})


def test_a_section_in_a_file_is_an_error_that_says_how_to_write_it(file: Path) -> None:
    """Settings have no sections, also where one has the name of a setting."""
    for section in ("server", "port"):
        file.write_text(f"[{section}]\nport = 1\n")
        said = refusal(file=file)
        assert said == f"{file}: settings have no sections: write `port = ...` without `[{section}]` above it"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "65536"),
        ("port", "-1"),
        ("port", "http"),
        ("port", "80.5"),
        ("name_length", "0"),
        ("message_bytes", "1"),
        ("ping_seconds", "0"),
        ("ping_seconds", "soon"),
        ("ping_seconds", "nan"),
        ("ping_seconds", "inf"),
        ("log_format", "xml"),
        ("jwt_key_derivation", "md5"),
        ("admin_login", "x"),
        ("admin_login", "with space"),
        ("drain_seconds", "1e9"),
        ("trusted_proxies", "127.0.0.1, proxy.example"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("alternatives", "https://a.example, b.example"),
        ("alternatives", "https://ann:secret@a.example"),
        ("property_origins", "https://wiki.example, https://b.example/"),
        ("property_origins", "foo"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_setting_and_source(name: str, value: str) -> None:
    """A value of the wrong type or out of bounds is an error with the setting, the value and the place."""
    variable = f"HIVEWIRE_{name.upper()}"
    said = refusal(environment={variable: value})
    assert said.startswith(f"setting {name} ({variable}) is {value!r}: ")
    assert f"(--{name.replace('_', '-')})" in refusal(flags={name: value})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("log_days", "1d", "must be a number of days, such as 7 or 0.5, more than 0 and at most 36,500"),
        ("ping_seconds", "soon", "must be a number of seconds from 0.1 to 86,400"),
        ("history", "0", "must be a whole number from 1 to 10,000,000"),
        ("property_count", "-1", "must be a whole number, at least 0"),
        ("log_format", "xml", "must be one of auto, console, json"),
        ("property_put_creates", "maybe", "must be true or false"),
        ("admin_login", "x", "must be 3 to 128 letters, digits and _@.-"),
        ("api_key", "tooshort", "must have at least 16 characters"),
        ("browser_tokens", "tooshort", "must be keys with at least 16 characters each, one space between them"),
    ],
)
def test_what_a_value_must_be_is_said_in_plain_words(name: str, value: str, words: str) -> None:
    """An operator need not know the types of Python to mend a setting."""
    assert refusal(flags={name: value}).endswith(f": {words}")


def test_a_file_whose_value_has_quotes_too_many_or_too_few_hears_of_them(file: Path) -> None:
    """A number stands without quotes in a file, and a text in quotes."""
    file.write_text('port = "80"\n')
    assert refusal(file=file).endswith(": must be a whole number from 0 to 65,535, without quotes")
    for line in ("host = 1", "api_key = 1"):
        file.write_text(line + "\n")
        assert refusal(file=file).endswith(": must be text in quotes")


@pytest.mark.parametrize("line", ['port = "80"', "port = true", "port = 80.0", "host = 1", "admin_password = 12345678"])
def test_a_file_has_types(file: Path, line: str) -> None:
    """In a file a number is a number and a text is a text."""
    file.write_text(line + "\n")
    name = line.split()[0]
    assert refusal(file=file).startswith(f"setting {name} ({file})")


@pytest.mark.parametrize("content", [b"port = \n", b"\xff\xfe", b"port = 1\nport = 2\n"])
def test_a_file_that_is_not_toml_is_an_error(file: Path, content: bytes) -> None:
    """The error has the name of the file."""
    file.write_bytes(content)
    assert refusal(file=file).startswith(f"cannot read the settings in {file}: ")


def test_a_missing_file_is_an_error(file: Path) -> None:
    """The error has the name of the file, also when the environment names it."""
    assert str(file) in refusal(file=file)
    assert str(file) in refusal(environment={"HIVEWIRE_CONFIG": str(file)})


def test_certificate_and_key_belong_together() -> None:
    """One of the two TLS files alone is an error."""
    for name in ("tls_certificate", "tls_key"):
        assert "belong together" in refusal(flags={name: "x.pem"})


@pytest.mark.parametrize("password", ["short", "x" * 129])
def test_the_first_password_has_bounds(password: str) -> None:
    """The administrator's password has 6 to 128 characters, and the error does not show it."""
    said = refusal(environment={"HIVEWIRE_ADMIN_PASSWORD": password})
    assert "6 to 128 characters" in said
    assert "HIVEWIRE_ADMIN_PASSWORD" in said
    assert password not in said


def test_secrets_are_known_as_such() -> None:
    """Passwords, signing secrets and what other servers share, and nothing else, are never shown."""
    secrets = {"admin_password", "jwt_secret", "jwt_previous_secret", "server_tokens", "browser_tokens", "api_key"}
    secrets |= {"store_password", "store_monitor_password"}
    assert {name for name in settings.names() if settings.is_secret(name)} == secrets


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVER_TOKENS", "nopair"),
        ("SERVER_TOKENS", "key:tooshort"),
        ("SERVER_TOKENS", "key:long-enough-a-secret  b:long-enough-a-secret"),
        ("BROWSER_TOKENS", "long-enough-a-key tooshort"),
        ("API_KEY", "tooshort"),
    ],
)
def test_shared_secrets_are_long_and_never_shown(name: str, value: str) -> None:
    """Server tokens are `key:secret` pairs with secrets of at least 16 characters, as the other keys have."""
    words = refusal(environment={f"HIVEWIRE_{name}": value})
    assert words.startswith(f"setting {name.lower()} (HIVEWIRE_{name}): ")
    assert value not in words
    good = {"HIVEWIRE_SERVER_TOKENS": "a:long-enough-a-secret b:long:enough-a-secret", "HIVEWIRE_API_KEY": "k" * 16}
    assert settings.load({}, good).settings.api_key == "k" * 16


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_a_switch_is_true_or_false(text: str, value: bool) -> None:
    """As a flag and in the environment."""
    assert settings.load({"property_put_creates": text}, {}).settings.property_put_creates is value
    assert "property_put_creates" in refusal({"property_put_creates": "maybe"})


# Secrets in files, as Docker and Kubernetes mount them.

SECRETS = [name for name in settings.names() if settings.is_secret(name)]


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_every_secret_can_be_in_a_file(tmp_path: Path, name: str, end: str) -> None:
    """`HIVEWIRE_..._FILE` names it. Only the line break at its end does not count."""
    secret = "key:0123456789abcdef" if name.endswith("_tokens") else " 0123456789 abcdef "
    (tmp_path / "secret").write_bytes((secret + end).encode())
    flags = {"jwt_previous_until": "2026-03-01T09:30:00"} if name == "jwt_previous_secret" else {}
    variable = f"HIVEWIRE_{name.upper()}_FILE"
    effective = settings.load(flags, {variable: str(tmp_path / "secret")})
    assert (getattr(effective.settings, name), effective.sources[name]) == (secret, variable)
    assert settings.exposed_file(effective) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff" * 20, "is not UTF-8"),
        (b"a" * 65_537, "has more than 65,536 bytes"),
    ],
)
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    """The words name the variable and the file, and nothing of what is in it."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    told = refusal(environment={"HIVEWIRE_JWT_SECRET_FILE": str(file)})
    assert words in told and "HIVEWIRE_JWT_SECRET_FILE" in told and str(file) in told


def test_a_secret_and_its_file_exclude_each_other(tmp_path: Path) -> None:
    """Which of the two counts could only be guessed. An empty variable is one that was not set."""
    file = tmp_path / "secret"
    file.write_text("0123456789abcdef")
    both = {"HIVEWIRE_JWT_SECRET_FILE": str(file), "HIVEWIRE_JWT_SECRET": "another 0123456789"}
    assert "give one of them" in refusal(environment=both)
    assert settings.load({}, both | {"HIVEWIRE_JWT_SECRET_FILE": ""}).settings.jwt_secret == "another 0123456789"
    assert settings.load({}, both | {"HIVEWIRE_JWT_SECRET": ""}).settings.jwt_secret == "0123456789abcdef"


def test_only_secrets_can_be_in_a_file() -> None:
    """A mistyped variable is named, with the nearest one."""
    assert "unknown environment variable HIVEWIRE_PORT_FILE" in refusal(environment={"HIVEWIRE_PORT_FILE": "x"})
    assert "did you mean 'HIVEWIRE_JWT_SECRET_FILE'?" in refusal(environment={"HIVEWIRE_JWT_SECRT_FILE": "x"})


def test_a_setting_is_text() -> None:
    """An argument or a variable with other bytes is refused: a worker could not be given it."""
    name = os.fsdecode(b"data\xff.db")
    assert refusal({"data": name}) == "setting data (--data) is not UTF-8"
    assert refusal({}, {"HIVEWIRE_TLS_KEY": name}) == "setting tls_key (HIVEWIRE_TLS_KEY) is not UTF-8"
