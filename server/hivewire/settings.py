"""Every setting: type, default, limits and description. Flags override the environment, which overrides the file.

The struct below is the only list. Flags, environment variables, the `--check` table, the table in the documentation and
the validation of values are derived from it.
"""

from __future__ import annotations

import difflib
import os
import platform
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta, Struct, structs

from hivewire.addresses import networks, within
from hivewire.files import read_regular
from hivewire_protocol import times

ENVIRONMENT = "HIVEWIRE_"

CLIENT_VARIABLES = frozenset({"URL", "TOKEN", "PROFILE", "LOGIN", "PASSWORD", "CONFIG"})
"""Variables with the same prefix that the command line reads; they are not settings of the gateway."""

_Port = Annotated[int, Meta(ge=0, le=65_535)]
_Count = Annotated[int, Meta(ge=1, le=10_000_000)]
_Length = Annotated[int, Meta(ge=1, le=1_024)]
_Bytes = Annotated[int, Meta(ge=1_024, le=1 << 30)]
_Seconds = Annotated[float, Meta(ge=0.1, le=86_400)]
_LOGIN = r"^[\w@.-]+$"
_KEYS_AND_SECRETS = r"^[^\s:]+:\S{16,}( [^\s:]+:\S{16,})*$"
_KEYS = r"^\S{16,}( \S{16,})*$"
_HTTP = r"^https?://[^/?#\s]+[^?#\s]*$"
_FORMS = {
    _HTTP: "an address such as http://127.0.0.1:4318",
    _LOGIN: "3 to 128 letters, digits and _@.-",
    _KEYS_AND_SECRETS: "`key:secret` pairs, one space between them, each secret with at least 16 characters",
    _KEYS: "keys with at least 16 characters each, one space between them",
}
"""The patterns of settings in words, for error messages."""

_KeysAndSecrets = Annotated[str, Meta(pattern=_KEYS_AND_SECRETS)]
_Keys = Annotated[str, Meta(pattern=_KEYS)]
_Retention = Annotated[int, Meta(ge=120, le=10 * 365 * 86_400)]
_Days = Annotated[float, Meta(gt=0, le=36_500)]
_Lifetime = Annotated[int, Meta(ge=1, le=10 * 365 * 86_400)]


def _says(sentence: str, secret: bool = False, reload: bool = False) -> Meta:
    """`reload`: SIGHUP reads the setting again."""
    return Meta(description=sentence, extra={"secret": secret, "reload": reload})


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of a gateway. Durations are in seconds and sizes in bytes, unless the description says otherwise."""

    host: Annotated[str, _says("Address to listen on: the first one of a name; `::` is all, IPv4 too.")] = "127.0.0.1"
    port: Annotated[_Port, _says("Port to listen on; 0 picks a free one.")] = 8080
    data: Annotated[
        str,
        _says("Path of the SQLite file; created if it does not exist. With `store` it is a copy of the log there."),
    ] = "hivewire.db"
    dashboard: Annotated[bool, _says("Whether to serve the dashboard, at `/dashboard/`.")] = True
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=64)],
        _says(
            "Gateway processes that share the port and the data file. Each has everything in memory: reads and pushes "
            "scale with the cores, writes do not. Limits on connections and memory apply to each process."
        ),
    ] = 1
    store: Annotated[
        str | None,
        _says(
            "Address of a log that several gateways share, on NATS JetStream: `nats://USER@HOST,HOST,HOST/SITE`, or "
            "`tls://`; `?replicas=1` keeps one copy instead of three."
        ),
    ] = None
    store_password: Annotated[str | None, _says("Password of the user in `store`.", secret=True)] = None
    store_credentials: Annotated[
        str | None, _says("File of credentials for `store`, which holds a JWT and its key, or the seed of a key alone.")
    ] = None
    store_ca: Annotated[
        str | None, _says("PEM file of the certificate authority of a `store` with `tls://`; the system's if not set.")
    ] = None
    store_cert: Annotated[str | None, _says("PEM file of the certificate that is shown to the `store`.")] = None
    store_key: Annotated[str | None, _says("PEM file of its private key.")] = None
    store_monitor: Annotated[
        str | None,
        _says(
            "Where the servers of the `store` say whether they sync every write: their monitoring ports, as "
            "`http://HOST:8222,HOST:8222`, or their system account, as `nats://USER@HOST,HOST` or `tls://`. The "
            "gateway refuses to start when one does not, or when most of them do not answer."
        ),
    ] = None
    store_monitor_password: Annotated[str | None, _says("Password of the user in `store_monitor`.", secret=True)] = None
    store_monitor_credentials: Annotated[
        str | None, _says("File of credentials for `store_monitor`, as `store_credentials`.")
    ] = None
    store_bytes: Annotated[
        Annotated[int, Meta(ge=64 << 20, le=1 << 50)],
        _says("Size of the log in the `store` at which it accepts no more; used only when it is created."),
    ] = 8 << 30
    append_seconds: Annotated[
        _Seconds,
        _says(
            "Time without an answer of the `store` after which it is unknown whether a change was written. "
            "A new leader takes 5 to 9 seconds."
        ),
    ] = 15.0
    alternatives: Annotated[
        str,
        _says(
            "Addresses of other gateways of the same ledger, separated by commas, such as `https://b.example.com`. "
            "Clients get them from `server/info`, and when this gateway stops.",
            reload=True,
        ),
    ] = ""
    otlp_endpoint: Annotated[
        Annotated[str, Meta(pattern=_HTTP)] | None,
        _says(
            "Address of an OpenTelemetry collector, such as `http://127.0.0.1:4318`, which gets traces of all requests "
            "by OTLP over HTTP. It needs the packages of `hivewire[otel]`."
        ),
    ] = None
    admin_login: Annotated[
        str,
        Meta(min_length=3, max_length=128, pattern=_LOGIN),
        _says("Login of the first administrator; used only when the file is created."),
    ] = "admin"
    admin_password: Annotated[
        str | None,
        _says(
            "Password of the first administrator (6-128 characters); used only when the file is created. "
            "Generated if not set.",
            secret=True,
        ),
    ] = None
    jwt_secret: Annotated[
        str | None,
        _says(
            "Secret that signs tokens, at least 32 bytes. Generated and stored in the file if not set.",
            secret=True,
            reload=True,
        ),
    ] = None
    jwt_key_derivation: Annotated[
        Literal["utf8", "devicehive"],
        _says(
            "How the secret becomes the key: `devicehive` keeps the tokens of a DeviceHive installation valid.",
            reload=True,
        ),
    ] = "utf8"
    jwt_previous_secret: Annotated[
        str | None,
        _says(
            "Secret that signed tokens before `jwt_secret`; the one generated and stored in the file if not set. "
            "Accepted only with `jwt_previous_until`.",
            secret=True,
            reload=True,
        ),
    ] = None
    jwt_previous_until: Annotated[
        str | None,
        _says(
            "Time until which tokens of the previous secret are accepted, in UTC: `2026-03-01T09:30:00`.", reload=True
        ),
    ] = None
    access_token_lifetime: Annotated[_Lifetime, _says("Lifetime of an access token, in s.", reload=True)] = 1_800
    refresh_token_lifetime: Annotated[_Lifetime, _says("Lifetime of a refresh token, in s.", reload=True)] = 15_724_800
    session_lifetime: Annotated[
        _Lifetime,
        _says(
            "Lifetime of a login in the dashboard, and of a session token of `users/authenticate`, in s.", reload=True
        ),
    ] = 86_400
    tls_certificate: Annotated[str | None, _says("PEM file of the certificate chain; enables TLS.", reload=True)] = None
    tls_key: Annotated[str | None, _says("PEM file of the private key of the certificate.", reload=True)] = None
    server_tokens: Annotated[
        _KeysAndSecrets | None,
        _says(
            "Keys and secrets that sign X-Deki-Token: `key:secret` pairs separated by spaces; "
            "each secret has at least 16 characters.",
            secret=True,
            reload=True,
        ),
    ] = None
    browser_tokens: Annotated[
        _Keys | None,
        _says(
            "Keys separated by spaces, which pages of `property_origins` may send as X-Deki-Token with the credentials "
            "of their user; each key has at least 16 characters.",
            secret=True,
            reload=True,
        ),
    ] = None
    api_key: Annotated[
        Annotated[str, Meta(min_length=16)] | None,
        _says("Key (at least 16 characters) that gives full access to site properties.", secret=True, reload=True),
    ] = None
    history: Annotated[
        _Count,
        _says("Changes kept for each name, for history and rollback. Older ones are removed in the background."),
    ] = 100
    log_changes: Annotated[
        _Count,
        _says("Changes kept in the log of all names, for clients that resume; `log_days` can remove them earlier."),
    ] = 1_000_000
    log_days: Annotated[_Days, _says("Age in days at which a change is removed from the log.")] = 7.0
    audit_rows: Annotated[
        _Count, _says("Rows kept in the audit, counted separately for activities of clients and for all others.")
    ] = 100_000
    audit_days: Annotated[_Days, _says("Age in days at which a row is removed from the audit.")] = 90.0
    messages: Annotated[
        Literal["durable", "memory"],
        _says(
            "Where commands and notifications of devices are kept. `durable`: in a file next to the data file, with "
            "`.messages` added to its name, or in the `store`, before they are answered. `memory`: they are lost when "
            "the gateway ends."
        ),
    ] = "durable"
    commands_retention: Annotated[
        _Retention, _says("Time for which a command is kept after its insert or last update, in s, at least 120.")
    ] = 86_400
    notifications_retention: Annotated[
        _Retention, _says("Time for which a notification is kept, in s, at least 120.")
    ] = 120
    messages_bytes: Annotated[
        Annotated[int, Meta(ge=64 << 20, le=1 << 40)],
        _says(
            "Most bytes of stored commands, and of stored notifications. Above it the oldest are dropped early; "
            "those younger than 120 s are kept, and inserts get 503 instead."
        ),
    ] = 1 << 30
    device_messages_bytes: Annotated[
        Annotated[int, Meta(ge=1 << 20, le=1 << 40)],
        _says("Most bytes of stored commands of a device, and of its stored notifications; further inserts get 429."),
    ] = 64 << 20
    device_messages_rate: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        _says(
            "Commands that a device may get in a second, and notifications that it may send; ten times as many at "
            "once. Further inserts get 429; 0 means no limit."
        ),
    ] = 1_000
    parameters_bytes: Annotated[
        _Bytes, _says("Largest parameters and result of a command or notification together, as JSON.")
    ] = 64 << 10
    log_format: Annotated[
        Literal["auto", "console", "json"], _says("Log format; `auto` is `console` on a terminal and `json` elsewhere.")
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _says("Least severe log lines that are written.", reload=True)
    ] = "info"
    trusted_proxies: Annotated[
        str,
        _says(
            "IP addresses of proxies and networks of them, such as `10.1.0.0/16`, separated by commas, whose "
            "X-Forwarded-For and X-Forwarded-Proto are trusted."
        ),
    ] = ""
    name_length: Annotated[_Length, _says("Longest name of a new configuration, in characters.", reload=True)] = 128
    value_length: Annotated[
        _Count, _says("Longest value written over WebSocket or REST, in characters.", reload=True)
    ] = 65_536
    description_length: Annotated[_Count, _says("Longest description, in characters.", reload=True)] = 1_024
    property_bytes: Annotated[
        Annotated[int, Meta(ge=1, le=256 << 20)],
        _says("Largest content of a site property, and largest batch of site properties.", reload=True),
    ] = 1 << 20
    property_count: Annotated[
        Annotated[int, Meta(ge=0)],
        _says(
            "Number of configurations at which no more site properties can be created; 0 means no limit.", reload=True
        ),
    ] = 0
    property_put_creates: Annotated[
        bool,
        _says("Whether PUT creates a site property that does not exist, as in old wikis, or answers 404.", reload=True),
    ] = False
    property_origins: Annotated[
        str,
        _says("Web origins, separated by commas, that may use site properties (CORS). Empty: no CORS headers."),
    ] = ""
    compact_seconds: Annotated[_Seconds, _says("Interval of removing changes that are no longer needed.")] = 5.0
    stall_seconds: Annotated[
        _Seconds, _says("Time without an answer of the disk after which writes are refused until it answers.")
    ] = 5.0
    message_bytes: Annotated[_Bytes, _says("Largest WebSocket message and REST body.", reload=True)] = 1 << 20
    document_bytes: Annotated[_Bytes, _says("Largest configuration document of a tenant, after decompression.")] = (
        16 << 20
    )
    document_validation: Annotated[
        Literal["lenient", "strict"],
        _says("`strict` refuses documents for most of what `lenient` only warns of: real documents break those rules."),
    ] = "lenient"
    document_members: Annotated[
        Literal["any", "known"],
        _says("`known` refuses unknown members in the entity and relation types of a document."),
    ] = "any"
    unfinished_bytes: Annotated[
        _Bytes,
        _says(
            "Memory for incomplete messages and bodies of all connections, in addition to 4 KiB for each one.",
            reload=True,
        ),
    ] = 64 << 20
    anonymous_bytes: Annotated[
        Annotated[int, Meta(ge=4 << 20, le=1 << 30)],
        _says(
            "Memory for incomplete messages, bodies, unread answers and TLS of all connections without a login, and a "
            "sixteenth of it for those of one address. When it is exceeded, those that have held memory for longest "
            "are closed.",
            reload=True,
        ),
    ] = 16 << 20
    anonymous_rate: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        _says(
            "Requests without a token from one address that are answered in a second, and twice as many at once; "
            "further ones get 429. Health checks and metrics do not count; 0 means no limit.",
            reload=True,
        ),
    ] = 100
    unread_bytes: Annotated[
        Annotated[int, Meta(ge=1 << 20, le=1 << 40)],
        _says(
            "Memory for unread answers of all connections, in addition to 64 KiB for each one. "
            "When it is exceeded, the connections that have not read for longest are closed.",
            reload=True,
        ),
    ] = 128 << 20
    head_bytes: Annotated[_Bytes, _says("Largest HTTP head: the request line and all headers.", reload=True)] = 64 << 10
    head_seconds: Annotated[_Seconds, _says("Time to send the request line and headers.", reload=True)] = 10.0
    body_seconds: Annotated[_Seconds, _says("Time to send a REST body or a WebSocket message.", reload=True)] = 30.0
    connections: Annotated[
        _Count,
        _says(
            "Maximum number of open connections. Above it, the oldest connection without a login is closed; "
            "16 further ones are served health checks and metrics.",
            reload=True,
        ),
    ] = 20_000
    login_seconds: Annotated[
        _Seconds, _says("Time for a WebSocket to authenticate before it is closed (4010).", reload=True)
    ] = 60.0
    connections_per_address: Annotated[
        _Count,
        _says(
            "Maximum number of open connections from one address. An IPv6 /64 network is one address; "
            "trusted proxies are exempt.",
            reload=True,
        ),
    ] = 5_000
    pipeline: Annotated[
        _Count, _says("Unanswered requests of a connection at which reading from it pauses.", reload=True)
    ] = 1_024
    outbox_bytes: Annotated[
        _Bytes,
        _says(
            "Unread answers of a connection, beyond the kernel's buffers, at which it is not served until it reads.",
            reload=True,
        ),
    ] = 1 << 20
    subscriptions: Annotated[_Count, _says("Maximum number of subscriptions of a connection.", reload=True)] = 1_000
    bookmark_seconds: Annotated[
        _Seconds, _says("Interval of bookmarks, which tell a subscriber the current position when no change matched.")
    ] = 10.0
    conflate_after: Annotated[
        _Count, _says("Unread changes above which a slow subscriber gets only the latest change of each name.")
    ] = 10_000
    conflate_seconds: Annotated[
        _Seconds, _says("Time without reading after which a subscriber is slow.", reload=True)
    ] = 5.0
    slow_seconds: Annotated[
        _Seconds, _says("Time without reading after which a connection is closed (4008).", reload=True)
    ] = 60.0
    ping_seconds: Annotated[
        _Seconds,
        _says("Interval of pings, and time to answer one before the connection is closed (1011).", reload=True),
    ] = 30.0
    failed_authentications: Annotated[
        _Count, _says("Failed authentications after which a WebSocket is closed (4029).", reload=True)
    ] = 20
    drain_seconds: Annotated[
        _Seconds,
        _says("Time for open requests, event streams and WebSockets to finish at a stop; then they are cut."),
    ] = 10.0
    drain_spread: Annotated[
        _Seconds,
        _says(
            "Longest time within which clients reconnect after a stop. Each is told a random moment within one second "
            "for each 100 clients, but not later than this.",
            reload=True,
        ),
    ] = 30.0

    @property
    def other_gateways(self) -> list[str]:
        """The addresses in `alternatives`."""
        return [each.strip() for each in self.alternatives.split(",") if each.strip()]

    @property
    def gateway(self) -> str:
        """The name of this gateway among those that share a log: its machine and port."""
        return f"{platform.node()}:{self.port or os.getpid()}"

    def trusts(self, address: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        return bool(self.trusted_proxies) and within(address, self.trusted_proxies)


class StartError(Exception):
    """The gateway cannot start; the message is a sentence for the operator."""


class SettingsError(StartError):
    """It cannot start until somebody changes something: a setting is wrong, or what it names is no use."""


class Effective(Struct, frozen=True):
    """The settings in force, and for each the place it came from."""

    settings: Settings
    sources: dict[str, str]


def names() -> tuple[str, ...]:
    """Every setting's name, in the order of the table."""
    return Settings.__struct_fields__


def sentence(name: str) -> str:
    """What the setting does."""
    return next((meta.description for meta in _metas(name) if meta.description), "")


def is_secret(name: str) -> bool:
    """Whether the value is never shown and cannot be given as a flag, where every process could read it."""
    return _is_marked(name, "secret")


def exposed_file(effective: Effective) -> Path | None:
    """The settings file, if it holds secrets and other users of the machine can read it."""
    elsewhere = ("default", *(ENVIRONMENT + name for name in (*map(str.upper, names()), *SECRET_FILES)))
    files = {effective.sources[name] for name in names() if is_secret(name)}.difference(elsewhere)
    for file in map(Path, files):  # one at most
        if file.exists() and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            return file
    return None


def _is_marked(name: str, mark: str) -> bool:
    return any(meta.extra and meta.extra.get(mark) for meta in _metas(name))


def _metas(name: str) -> tuple[Meta, ...]:
    return tuple(item for item in _HINTS[name].__metadata__ if isinstance(item, Meta))


_HINTS = get_type_hints(Settings, include_extras=True)

RELOADED = frozenset(name for name in _HINTS if _is_marked(name, "reload"))
"""Settings that SIGHUP reads again; the others need a restart. Open connections keep those that they began with."""


def changed(old: Settings, new: Settings) -> frozenset[str]:
    """The names of the settings that differ."""
    return frozenset(name for name in names() if getattr(old, name) != getattr(new, name))


def reloaded(old: Settings, fresh: Settings) -> Settings:
    """What a reload makes of the settings of a gateway: those that need a restart stay, such as whether it uses TLS."""
    taken = changed(old, fresh) & RELOADED
    if (fresh.tls_certificate is None) != (old.tls_certificate is None):
        taken -= {"tls_certificate", "tls_key"}
    return structs.replace(old, **{name: getattr(fresh, name) for name in taken})


SECRET_FILES = {f"{name.upper()}_FILE": name for name in _HINTS if is_secret(name)}
"""The secrets that a file can hold, by the variable that names the file, without ENVIRONMENT."""

SECRET_BYTES = 64 << 10
"""Largest such file."""

_LISTS = (
    (
        "alternatives",
        re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?"),
        "the address of a gateway, such as https://b.example.com",
    ),
    ("property_origins", re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+"), "an origin such as https://wiki.example.com"),
)
"""Settings with several values and commas between them: the pattern of each value, and what it stands for."""


def load(flags: Mapping[str, Any], environment: Mapping[str, str] | None = None, file: Path | None = None) -> Effective:
    """The effective settings. `flags` with value None were not given; `file` is a TOML file. Raises SettingsError."""
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    sources = dict.fromkeys(names(), "default")
    if file is None and environment.get(ENVIRONMENT + "CONFIG"):
        file = Path(environment[ENVIRONMENT + "CONFIG"])
    given = _from_file(file) if file is not None else []
    given += _from_environment(environment)
    given += [(name, value, "--" + name.replace("_", "-")) for name, value in flags.items()]
    for name, value, source in given:
        if value is not None:
            values[name] = _check(name, value, source, typed=source == str(file))
            sources[name] = source
    settings = Settings(**values)
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise SettingsError("tls_certificate and tls_key belong together: give both or neither")
    if (settings.store_cert is None) != (settings.store_key is None):
        raise SettingsError("store_cert and store_key belong together: give both or neither")
    if settings.jwt_previous_until is not None:
        try:
            times.parse(settings.jwt_previous_until)
        except ValueError:
            where = f"setting jwt_previous_until ({sources['jwt_previous_until']}) is {settings.jwt_previous_until!r}"
            raise SettingsError(f"{where}: give a time such as 2026-03-01T09:30:00") from None
    elif settings.jwt_previous_secret is not None:
        raise SettingsError("jwt_previous_secret needs jwt_previous_until, the time until which it is accepted")
    try:
        networks(settings.trusted_proxies)
    except ValueError as error:
        where = f"setting trusted_proxies ({sources['trusted_proxies']}) is {settings.trusted_proxies!r}"
        raise SettingsError(f"{where}: {error}") from None
    for name, form, wanted in _LISTS:
        given_list: str = getattr(settings, name)
        for each in filter(None, map(str.strip, given_list.split(","))):
            if not form.fullmatch(each):
                where = f"setting {name} ({sources[name]}) is {given_list!r}"
                raise SettingsError(f"{where}: {each!r} is not {wanted}")
    if settings.admin_password is not None and not 6 <= len(settings.admin_password) <= 128:
        raise SettingsError(f"admin_password ({sources['admin_password']}) must have 6 to 128 characters")
    return Effective(settings, sources)


def _from_file(path: Path) -> list[tuple[str, Any, str]]:
    try:
        # Editors on Windows begin a file with a byte order mark.
        found = tomllib.loads(read_regular(path).decode("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings in {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings in {path}: {error}") from None
    for name in found:
        if isinstance(found[name], dict):
            inner = next(iter(found[name]), "port")
            raise SettingsError(f"{path}: settings have no sections: write `{inner} = ...` without `[{name}]` above it")
        if name not in names():
            raise SettingsError(f"{path}: unknown setting {name!r}{_nearest(name, names())}")
    return [(name, value, str(path)) for name, value in found.items()]


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    layer = []
    for variable, value in environment.items():
        if not variable.startswith(ENVIRONMENT):
            continue
        rest = variable.removeprefix(ENVIRONMENT)
        if rest in CLIENT_VARIABLES:
            continue
        name = rest.lower()
        if rest in SECRET_FILES:
            name = SECRET_FILES[rest]
            if value and environment.get(ENVIRONMENT + name.upper()):
                raise SettingsError(f"{variable} and {ENVIRONMENT}{name.upper()} are both set: give one of them")
            value = _secret_in(Path(value), variable) if value else ""
        elif name not in names() or rest != rest.upper():
            known = [ENVIRONMENT + known for known in (*map(str.upper, names()), *SECRET_FILES)]
            raise SettingsError(f"unknown environment variable {variable}{_nearest(variable, known)}")
        layer.append((name, value if value != "" else None, variable))
    return layer


def _secret_in(path: Path, variable: str) -> str:
    """The content of a file that holds a secret, without the line break at its end. Raises SettingsError."""
    try:
        text = read_regular(path, SECRET_BYTES).decode()
    except OSError as error:
        raise SettingsError(f"{variable}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {path} is not UTF-8") from None
    if not (secret := text.removesuffix("\n").removesuffix("\r")):
        raise SettingsError(f"{variable}: {path} is empty")
    return secret


def _nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else ""


def _check(name: str, value: Any, source: str, typed: bool) -> Any:
    if isinstance(value, str) and not _is_utf8(value):
        raise SettingsError(f"setting {name} ({source}) is not UTF-8")
    try:
        # Flags and variables are text that is converted to the type of the setting; TOML values have types.
        return msgspec.convert(value, _HINTS[name], strict=typed)
    except msgspec.ValidationError:
        shown = "" if is_secret(name) else f" is {value!r}"
        raise SettingsError(f"setting {name} ({source}){shown}: {_requirement(name, value, typed)}") from None


def _is_utf8(text: str) -> bool:
    """Whether it can be stored and sent. An argument or the name of a file can have any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _requirement(name: str, value: Any, typed: bool) -> str:
    """What a value of the setting must be, for an operator who does not know Python."""
    from msgspec import inspect  # only an error needs it

    wanted = inspect.type_info(_HINTS[name])
    while isinstance(wanted, inspect.Metadata | inspect.UnionType):  # of a union, None stands last
        wanted = wanted.type if isinstance(wanted, inspect.Metadata) else wanted.types[0]
    quoted = ", without quotes" if typed and isinstance(value, str) else ""
    match wanted:
        case inspect.LiteralType(values=values):
            return f"must be one of {', '.join(map(str, values))}"
        case inspect.BoolType():
            return f"must be true or false{quoted}"
        case inspect.IntType(ge=least, le=None):
            return f"must be a whole number, at least {least:,}{quoted}"
        case inspect.IntType(ge=least, le=most):
            return f"must be a whole number from {least:,} to {most:,}{quoted}"
        case inspect.FloatType(ge=None, le=most):
            return f"must be a number of days, such as 7 or 0.5, more than 0 and at most {most:,}{quoted}"
        case inspect.FloatType(ge=least, le=most):
            return f"must be a number of seconds from {least:,} to {most:,}{quoted}"
        case inspect.StrType(pattern=str(pattern)) if isinstance(value, str):
            return f"must be {_FORMS[pattern]}"
        case inspect.StrType(min_length=int(least)) if isinstance(value, str):
            return f"must have at least {least} characters"
    return "must be text in quotes"
