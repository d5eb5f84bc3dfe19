"""The paths of tokens."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.identity import Token, TokenCreate, TokenRefresh, TokenRevoke

ROWS = (
    Row("POST", "/token", Token, 201, auth=True),
    Row("POST", "/token/create", TokenCreate, 201, body="payload", auth=True),
    Row("POST", "/token/refresh", TokenRefresh, 201, auth=True),
    Row("POST", "/token/revoke", TokenRevoke, 204, auth=True),
)
