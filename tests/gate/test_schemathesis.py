"""Schemathesis asks a gateway what its OpenAPI document allows, and much that it forbids.

No answer is a failure of the gateway, and each has a status, a media type, headers and a form that the document names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from tests.documented import document
from tests.running import PASSWORD, PATIENCE, RunningGateway

PREPARED = (
    ("POST", "/tenant", {"tenantId": "acme"}),
    ("POST", "/user", {"login": "john", "password": PASSWORD, "role": 1, "status": 0}),
    ("PUT", "/device/dev-1", {"name": "first"}),
    ("PUT", "/configuration/limits", {"value": "1"}),
    ("POST", "/client", {"clientId": "app", "tenants": {"acme": ["READ"]}}),
)

KNOWN = {"tenantId": "acme", "clientId": "app", "userId": 2, "deviceId": "dev-1", "name": "limits", "key": "limits"}
"""Parameters of paths that lead to what is there; the administrator has the id 1."""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    """One with which anything may be done."""
    with RunningGateway(tmp_path / "hivewire.db") as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("examples", [1, pytest.param(100, marks=pytest.mark.long)])
def test_every_answer_is_as_documented(gateway: RunningGateway, examples: int) -> None:
    """Whatever an administrator asks, right or wrong. Most operations are carried out at least once."""
    import requests  # here, as what follows takes a second that only this test needs
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    held = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
    ]
    with gateway.http() as admin:
        bearer = admin.headers["authorization"]
        secret = [admin.request(method, path, json=body) for method, path, body in PREPARED][-1].json()["clientSecret"]
    asked: list[str] = []
    succeeded: set[str] = set()

    def ask(case: Any) -> None:
        if _ends_the_caller(case):
            return
        asked.append(case.operation.label)
        _moderate(case, substitute=len(asked) % 2 == 0)
        caller: Any = {"headers": {"Authorization": bearer}}
        if case.path.startswith("/@api/"):
            caller = {"auth": ("admin", PASSWORD)}
        elif case.path == "/oauth/token":
            caller = {"auth": ("app", secret)}
        with suppress(requests.exceptions.InvalidHeader):  # of a value that cannot be sent
            response = case.call(base_url=gateway.url, session=session, timeout=PATIENCE, **caller)
            case.validate_response(response, checks=held)
            if response.status_code < 300:
                succeeded.add(case.operation.label)

    few = settings(
        max_examples=examples,
        phases=[Phase.generate],
        database=None,
        derandomize=examples < 10,
        suppress_health_check=[*HealthCheck],
    )
    schema: Any = schemathesis.openapi.from_dict(document("openapi"))
    operations = [found.ok() for found in schema.get_all_operations()]
    with requests.Session() as session:
        for operation in operations:
            few(given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE))(ask))()
            with suppress(Unsatisfiable):  # an operation without parameters cannot be asked wrongly
                few(given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))(ask))()
    assert len(succeeded) > len(operations) / 2, {operation.label for operation in operations} - succeeded


def _ends_the_caller(case: Any) -> bool:
    """Whether a request changes the administrator, or revokes its token."""
    if case.path == "/api/rest/token/revoke":
        return True
    user = str((case.path_parameters or {}).get("userId", 1))
    return bool(case.path.startswith("/api/rest/user/") and case.method != "GET" and user == "1")


def _moderate(case: Any, *, substitute: bool) -> None:
    """Let a request wait for nothing that never comes; `substitute`: let its path lead to what is there."""
    parameters = case.path_parameters or {}
    if substitute and case.method != "DELETE":
        parameters.update((name, value) for name, value in KNOWN.items() if name in parameters)
    case.headers.pop("Hivewire-At-Least", None)
    case.headers.pop("Authorization", None)
    case.query.pop("atLeast", None)
    if case.path.endswith("/poll"):
        case.query["waitTimeout"] = 0
