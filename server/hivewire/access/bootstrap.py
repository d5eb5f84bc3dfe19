"""The first records of a new ledger: the administrator and the secret that signs tokens."""

from __future__ import annotations

from msgspec import Struct

from hivewire.access.passwords import Passwords, generate
from hivewire.access.tokens import Key, Previous, SecretError, generate_secret
from hivewire.access.users import UserContent, Users
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import NotDurable, Transaction, Write
from hivewire.settings import Settings, StartError
from hivewire.telemetry import log
from hivewire_protocol import times
from hivewire_protocol.nouns.user import Role

SECRET, SIGNING_KEY = "secret", "jwt"
"""Kind and key of the record that keeps a generated signing secret. No action reads this kind."""


class Bootstrap(Struct):
    """The first records of a new ledger, not written yet.

    `signing_secret` and the administrator's `password` are set if they were generated; the password is shown once.
    """

    writes: list[Write]
    signing_secret: str | None
    password: str | None

    def __repr__(self) -> str:
        return "Bootstrap(...)"

    async def write(self, ledger: Ledger, data: str) -> None:
        """Write the records in one transaction, if there are any. Raises StartError.

        This must be the last step of a start: if a later one failed, the password would be stored but never shown.
        """
        if not self.writes:
            return
        try:
            await ledger.commit(Transaction(self.writes))
        except NotDurable as error:
            raise StartError(f"cannot write to {data}: {error}") from error


async def prepare(settings: Settings, ledger: Ledger, users: Users, passwords: Passwords) -> Bootstrap:
    """The records that are missing in a loaded ledger. Hashes the password of a new administrator."""
    writes: list[Write] = []
    signing_secret = password = None
    if not users.all():
        password = settings.admin_password or generate()
        content = UserContent(await passwords.hash(password), Role.ADMIN)
        writes += users.write(settings.admin_login, content, None).writes
    if settings.jwt_secret is None and ledger.get(SECRET, SIGNING_KEY) is None:
        signing_secret = generate_secret()
        writes.append(Write(SECRET, SIGNING_KEY, signing_secret.encode(), "text/plain; charset=utf-8"))
    return Bootstrap(writes, signing_secret, password if settings.admin_password is None else None)


def signing_key(settings: Settings, ledger: Ledger, generated: str | None = None) -> Key:
    """The key that signs tokens: from the settings, generated just now, or from the ledger.

    Warns of a weak key. Raises StartError.
    """
    secret = settings.jwt_secret or generated or _stored_secret(ledger)
    key = key_of(settings, secret, settings.jwt_secret)
    if key.weak:
        log.warning(
            "the JWT key is shorter than 32 bytes; tokens could be forged by trying keys",
            bytes=len(key.value),
        )
    return key


def previous_key(settings: Settings, ledger: Ledger) -> Previous | None:
    """The previous key, as long as the settings accept it. Raises StartError."""
    if settings.jwt_previous_until is None:
        return None
    key = key_of(settings, settings.jwt_previous_secret or _stored_secret(ledger), settings.jwt_previous_secret)
    return Previous(key, times.parse(settings.jwt_previous_until))


def check_secret(settings: Settings) -> None:
    """Raise StartError for a signing secret in the settings that cannot be used."""
    if settings.jwt_secret is not None:
        key_of(settings, settings.jwt_secret, settings.jwt_secret)


def key_of(settings: Settings, secret: str, given: str | None) -> Key:
    """The key derived from a secret, `given` in the settings or generated. Raises StartError for an invalid one."""
    try:
        # `jwt_key_derivation` is for a secret that was set; a generated one is always used as it is.
        return Key(secret, settings.jwt_key_derivation if given is not None else "utf8")
    except SecretError as error:
        raise StartError(str(error)) from None


def _stored_secret(ledger: Ledger) -> str:
    record = ledger.get(SECRET, SIGNING_KEY)
    if record is None or record.content is None:
        raise StartError("the data file has no signing secret and none is configured; set HIVEWIRE_JWT_SECRET")
    return record.content.decode()
