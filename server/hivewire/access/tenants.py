"""Tenants and clients: records of kinds `tenant` and `client` in the ledger, read into an index.

A **client** is a program that works in tenants (tenant configuration, section 1). It authenticates with a secret that
the gateway generated. It has privileges in certain tenants and no other rights.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from hivewire.keyed_lock import KeyedLock
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, Expected, Transaction, Write
from hivewire_protocol.nouns.client import CLIENT_ID, MAX_TENANTS
from hivewire_protocol.nouns.tenant import TENANT_ID, Privilege

TENANT, CLIENT = "tenant", "client"
KINDS = frozenset({TENANT, CLIENT})

DOCUMENT = "tenantConfiguration"
"""The kind of the record with a tenant's configuration document. Its key is the tenant's id; it is deleted with the
tenant."""


class TenancyError(ValueError):
    """The requested tenant or client is not valid; the message is a sentence that says why."""


class Grant(Struct):
    """Privileges in one tenant. `tenant` is the id of its record, which no other tenant ever gets."""

    tenant: int
    privileges: list[Privilege]


class ClientContent(Struct):
    """The content of a client's record. The key of the record is the client's id."""

    secret_hash: str
    grants: dict[str, Grant]

    def __repr__(self) -> str:
        return "ClientContent(...)"


class ApiClient(Struct):
    """A client as it is now. Every change of its record makes a new object.

    `id` is the key of its record, and `record_id` the id of its record, which no other client ever gets. `revision` is
    that of the change, and `token` the token that was issued last.
    """

    record_id: int
    id: str
    content: ClientContent
    revision: int
    token: str | None = None

    def __repr__(self) -> str:
        return f"ApiClient({self.record_id}, {self.id!r})"


class Tenants:
    """An index of the ledger's tenants and clients that follows every change."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._tenants: dict[str, int] = {}
        self._clients: dict[str, ApiClient] = {}
        self._by_record_id: dict[int, ApiClient] = {}
        self.on_change: Callable[[], None] = lambda: None
        """Called when any tenant or client changes."""
        self.changing: KeyedLock[str] = KeyedLock()
        """Held for a client that is read and changed: else all who do so at once try again after each of them."""
        ledger.observe(self._apply, *KINDS)

    def load(self) -> None:
        """Read what the ledger holds; it must be open."""
        for kind in (TENANT, CLIENT):
            self._apply(self._ledger.kind(kind).live.values())

    def _apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.kind not in KINDS:
                continue
            self.on_change()
            if change.kind == TENANT:
                self._tenants.pop(change.key, None)
                if change.content is not None:
                    self._tenants[change.key] = change.id
            else:
                if (former := self._clients.pop(change.key, None)) is not None:
                    del self._by_record_id[former.record_id]
                client = client_after(change)
                if former is not None and (client is None or client.content.grants != former.content.grants):
                    self._ledger.end_author(former.id, client=True)
                if client is not None:
                    self._clients[client.id] = self._by_record_id[client.record_id] = client

    # Reading.

    def exists(self, tenant: str) -> bool:
        """Whether there is a tenant with exactly this id."""
        return tenant in self._tenants

    def record_id(self, tenant: str) -> int | None:
        """The id of the record of a tenant, which is never used again; None when there is no such tenant."""
        return self._tenants.get(tenant)

    def all(self) -> list[str]:
        """The ids of all tenants, in order."""
        return sorted(self._tenants)

    def client(self, name: str) -> ApiClient | None:
        """The client with exactly this id."""
        return self._clients.get(name)

    def by_record_id(self, record_id: int) -> ApiClient | None:
        """The client whose record has this id."""
        return self._by_record_id.get(record_id)

    def clients(self) -> list[ApiClient]:
        """Every client, by id."""
        return [self._clients[name] for name in sorted(self._clients)]

    def grants(self, client: ApiClient) -> dict[str, frozenset[Privilege]]:
        """The privileges that are valid now. A tenant that was deleted and created again under its id gives none."""
        return {
            tenant: effective(grant.privileges)
            for tenant, grant in client.content.grants.items()
            if self._tenants.get(tenant) == grant.tenant
        }

    def authenticate(self, name: str, secret: str) -> ApiClient | None:
        """The client with this id and secret. An unknown id takes as long as a wrong secret."""
        client = self._clients.get(name)
        expected = client.content.secret_hash if client is not None else _NOBODY
        return client if hmac.compare_digest(_hash(secret), expected) else None

    # Transactions that change them. They raise TenancyError.

    def insert_tenant(self, tenant: str, author: str | None) -> Transaction:
        """The transaction that creates a tenant. Its commit raises PreconditionFailed when the id exists."""
        if not TENANT_ID.fullmatch(tenant):
            raise TenancyError("the id of a tenant is 1 to 32 letters and digits")
        return Transaction([Write(TENANT, tenant, b"{}", "application/json", None, (Expected(version=0),))], author)

    def delete_tenant(self, tenant: str, author: str | None) -> Transaction:
        """The transaction that deletes a tenant and its document. Its commit raises Missing when there is none."""
        return Transaction([Write(TENANT, tenant, None), Write(DOCUMENT, tenant, None, if_present=True)], author)

    def insert_client(
        self, name: str, privileges: Mapping[str, Sequence[str]], secret: str, author: str | None
    ) -> Transaction:
        """The transaction that creates a client. Its commit raises PreconditionFailed when the id exists."""
        if not CLIENT_ID.fullmatch(name):
            raise TenancyError("the id of a client is 1 to 64 letters, digits, dots, hyphens and underscores")
        content = msgspec.json.encode(ClientContent(_hash(secret), self._grants(privileges)))
        return Transaction([Write(CLIENT, name, content, "application/json", None, (Expected(version=0),))], author)

    def update_client(
        self, name: str, privileges: Mapping[str, Sequence[str]] | None, secret: str | None, author: str | None
    ) -> Transaction:
        """The transaction that gives a client other privileges, another secret, or both; None leaves them as they are.

        Its commit raises PreconditionFailed when the client changed meanwhile. Its description says what is new, for
        the audit.
        """
        client, record = self._clients.get(name), self._ledger.get(CLIENT, name)
        if client is None or record is None:
            raise TenancyError(f"there is no client {name[:64]!r}")
        grants = client.content.grants if privileges is None else self._grants(privileges)
        secret_hash = client.content.secret_hash if secret is None else _hash(secret)
        content = msgspec.json.encode(ClientContent(secret_hash, grants))
        parts = ["secret"] * (secret is not None) + ["privileges"] * (privileges is not None)
        expected = (Expected(revision=record.revision),)
        return Transaction(
            [Write(CLIENT, name, content, "application/json", ", ".join(parts) or None, expected)], author
        )

    def _grants(self, privileges: Mapping[str, Sequence[str]]) -> dict[str, Grant]:
        if not 1 <= len(privileges) <= MAX_TENANTS:
            raise TenancyError(f"a client has privileges in 1 to {MAX_TENANTS} tenants")
        return {tenant: self._grant(tenant, given) for tenant, given in privileges.items()}

    def _grant(self, tenant: str, given: Sequence[str]) -> Grant:
        record_id = self._tenants.get(tenant)
        if record_id is None:
            raise TenancyError(f"there is no tenant {tenant[:32]!r}")
        if not given or not {*given} <= {*Privilege}:
            raise TenancyError(f"privileges in tenant {tenant} must be some of {', '.join(Privilege)}")
        return Grant(record_id, [privilege for privilege in Privilege if privilege in given])

    def delete_client(self, name: str, author: str | None) -> Transaction:
        """The transaction that deletes a client. Its commit raises Missing when there is none."""
        return Transaction([Write(CLIENT, name, None)], author)


def client_after(change: Change) -> ApiClient | None:
    """The client that a change of its record leaves; None after a delete."""
    if change.content is None:
        return None
    return ApiClient(change.id, change.key, msgspec.json.decode(change.content, type=ClientContent), change.revision)


def effective(privileges: Iterable[Privilege]) -> frozenset[Privilege]:
    """The privileges with those that they imply: UPDATE includes READ."""
    found = frozenset(privileges)
    return found | {Privilege.READ} if Privilege.UPDATE in found else found


def in_order(privileges: Iterable[Privilege]) -> list[Privilege]:
    """The privileges in the order READ, CREATE, UPDATE, DELETE."""
    found = frozenset(privileges)
    return [privilege for privilege in Privilege if privilege in found]


def generate_secret() -> str:
    """A client's secret: 256 random bits as 43 letters, digits, hyphens and underscores."""
    return secrets.token_urlsafe(32)


def generate_id() -> str:
    """An id for a client that was created without one."""
    return secrets.token_hex(8)


def _hash(secret: str) -> str:
    """The stored form of a secret. A fast hash without a salt is enough: secrets are 256 random bits, which cannot be
    guessed at any speed, and no two are equal. Slow, salted hashes protect passwords that people choose."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


_NOBODY = _hash(generate_secret())
