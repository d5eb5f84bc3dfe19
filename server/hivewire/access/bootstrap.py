"""The first records of a new ledger: the administrator and the secret that signs tokens.

Several gateways may start on one empty log. Each record is written on condition that there is none, so one gateway
writes it and the others use that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hivewire.access.keys import Key, Previous, SecretError, generate_secret
from hivewire.access.passwords import Passwords, generate
from hivewire.access.users import KIND as USER
from hivewire.access.users import UserContent, Users
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, EvaluatedState, Expected, NotDurable, PreconditionFailed, Transaction, Write
from hivewire.settings import Settings, SettingsError, StartError
from hivewire.telemetry import log
from hivewire_protocol import times
from hivewire_protocol.nouns.user import Role

SECRET, SIGNING_KEY = "secret", "jwt"
"""Kind and key of the record that keeps a generated signing secret. No action reads this kind."""

TAG_KEY = "tag"
"""The key of the record that keeps what the tags of fleets are made with: it never changes, or all would."""


class NoUsers:
    """A condition: there is no user at all. Another gateway may be the first on a shared log, under any login."""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it is true."""
        return state.count(USER) == 0


async def write_secret(settings: Settings, ledger: Ledger) -> None:
    """Store a generated signing secret, unless the settings or the ledger have one, and the key of tags. Raises
    StartError."""
    keys = [TAG_KEY] if settings.jwt_secret is not None else [SIGNING_KEY, TAG_KEY]
    if writes := [_secret(key) for key in keys if ledger.get(SECRET, key) is None]:
        await _write_first(settings, ledger, Transaction(writes))


def _secret(key: str) -> Write:
    secret = generate_secret().encode()
    return Write(SECRET, key, secret, "text/plain; charset=utf-8", preconditions=(Expected(version=0),))


async def write_administrator(
    settings: Settings,
    users: Users,
    passwords: Passwords,
    make: Callable[[UserContent], UserContent] = lambda content: content,
    beside: Sequence[Write] = (),
) -> str | None:
    """Store an administrator, unless there is a user. Returns the password if it was generated. Raises StartError.

    `beside` is written together with it, and `make` changes its content.

    This must be the last step of a start: if a later one failed, the password would be stored but never shown.
    """
    if users.all():
        return None
    password = settings.admin_password or generate()
    content = make(UserContent(await passwords.hash(password), Role.ADMIN))
    transaction = users.write(settings.admin_login, content, None, (NoUsers(),))
    transaction.writes = [*transaction.writes, *beside]
    stored = await _write_first(settings, users.ledger, transaction)
    return password if stored and settings.admin_password is None else None


async def _write_first(settings: Settings, ledger: Ledger, transaction: Transaction) -> bool:
    """Write a first record. False when another gateway did so, whose record the ledger has by now."""
    try:
        await ledger.commit(transaction)
    except PreconditionFailed:
        return False
    except NotDurable as error:
        raise StartError(f"cannot write to {settings.data}: {error}") from error
    return True


def signing_key(settings: Settings, ledger: Ledger) -> Key:
    """The key that signs tokens: from the settings or from the ledger. Warns of a weak key. Raises SettingsError."""
    key = key_of(settings, settings.jwt_secret or _stored_secret(ledger), settings.jwt_secret)
    if key.weak:
        log.warning(
            "the JWT key is shorter than 32 bytes; tokens could be forged by trying keys",
            bytes=len(key.value),
        )
    return key


def previous_key(settings: Settings, ledger: Ledger) -> Previous | None:
    """The previous key, as long as the settings accept it. Raises SettingsError."""
    if settings.jwt_previous_until is None:
        return None
    key = key_of(settings, settings.jwt_previous_secret or _stored_secret(ledger), settings.jwt_previous_secret)
    return Previous(key, times.parse(settings.jwt_previous_until))


def check_secret(settings: Settings) -> None:
    """Raise SettingsError for a signing secret in the settings that cannot be used."""
    if settings.jwt_secret is not None:
        key_of(settings, settings.jwt_secret, settings.jwt_secret)


def key_of(settings: Settings, secret: str, given: str | None) -> Key:
    """The key derived from a secret, `given` in the settings or generated. Raises SettingsError for an invalid one."""
    try:
        # `jwt_key_derivation` is for a secret that was set; a generated one is always used as it is.
        return Key(secret, settings.jwt_key_derivation if given is not None else "utf8")
    except SecretError as error:
        name = "jwt_secret" if given == settings.jwt_secret else "jwt_previous_secret"
        raise SettingsError(f"{name} {error}") from None


def _stored_secret(ledger: Ledger) -> str:
    record = ledger.get(SECRET, SIGNING_KEY)
    if record is None or record.content is None:
        raise SettingsError("the data file has no signing secret and none is configured; set HIVEWIRE_JWT_SECRET")
    return record.content.decode()
