"""Error bodies of the tenant configuration dialect."""

from __future__ import annotations

from itertools import chain

import msgspec
import pytest

from hivewire_protocol.tenant import errors
from hivewire_protocol.tenant.errors import (
    BadRequest,
    Finding,
    Invalid,
    TenantError,
    ValidationError,
    validation_answer,
)

LABEL = Finding(
    304, "entityTypes[0].label", "configuration/entityTypes/A", "is missing", "Each entity type needs a label."
)
MANY = Finding(
    1800, "entityTypes[0].attributes", "configuration/entityTypes/A", "has 201", "At most 200.", warning=True
)
TOP = Finding(304, "", "configuration", "is odd", "Make it even.")


def family(found: type[TenantError] = TenantError) -> list[type[TenantError]]:
    return [found, *chain.from_iterable(map(family, found.__subclasses__()))]


def test_a_single_finding_has_its_own_code() -> None:
    """One finding is answered as in the contract's sample (section 7.2)."""
    error = Invalid([LABEL])
    assert error.status == 400
    assert error.body() == {
        "severity": "Error",
        "errorMessage": "Business model is not valid: entityTypes[0].label is missing",
        "errorCode": 304,
        "errorDetailMessage": "Each entity type needs a label.",
    }


def test_several_findings_come_in_an_envelope() -> None:
    """Several findings are `foundErrors` under the code 270, in the order given."""
    body = Invalid([LABEL, TOP]).body()
    assert body["errorCode"] == 270
    assert body["severity"] == "Error"
    assert body["errorMessage"] == "Business model is not valid: 2 errors found"
    assert body["foundErrors"] == [LABEL.body(), TOP.body()]
    assert TOP.message == "Business model is not valid: the document is odd"


def test_single_types_have_a_word_in_front() -> None:
    """The message of an error of "manage by object type" begins with its word (section 13, row 18)."""
    assert ValidationError([LABEL]).body() == {
        **LABEL.body(),
        "errorMessage": "VALIDATION_ERROR: Business model is not valid: entityTypes[0].label is missing",
    }
    assert ValidationError([LABEL, TOP]).body()["errorMessage"].startswith("VALIDATION_ERROR: ")
    assert errors.TypeIsNotFound().body()["errorMessage"].startswith("TYPE_IS_NOT_FOUND: ")
    assert errors.BadRequest("exists").body()["errorMessage"] == "BAD_REQUEST: exists"


@pytest.mark.parametrize("found", family(), ids=lambda found: found.__name__)
def test_every_error_can_be_shown(found: type[TenantError]) -> None:
    """Every error has a status, a sentence for the handbook, and the same four members in its body."""
    error = found([LABEL]) if issubclass(found, Invalid) else found()
    assert 400 <= error.status <= 599
    assert found.__dict__.get("__doc__", "").strip()
    body = error.body()
    assert list(body) == ["severity", "errorMessage", "errorCode", "errorDetailMessage"]
    assert all(body.values())
    assert "\n" not in body["errorMessage"]
    assert msgspec.json.decode(msgspec.json.encode(body)) == body


def test_the_codes_of_the_seed() -> None:
    """306, 305, 412, 309 and 303 have the status that the contract recommends (sections 7.1 and 13)."""
    codes = {found.code: found.status for found in family() if found.code != found.status and found.code != 500}
    assert codes == {306: 400, 305: 400, 309: 404, 303: 500}
    assert (errors.Stale.code, errors.Stale.status) == (412, 412)


def test_validation_answers_by_element() -> None:
    """`_validation` has errors and warnings under the URI of each element, and nothing when all is well (2.1)."""
    findings = [TOP, LABEL, MANY]
    assert validation_answer([]) == {}
    assert validation_answer(findings) == {
        "configuration": {"errors": [TOP.body()], "warnings": []},
        "configuration/entityTypes/A": {"errors": [LABEL.body()], "warnings": [MANY.body()]},
    }
    assert MANY.body()["severity"] == "Warning"


def test_validation_shows_the_level_asked_for() -> None:
    """`validationErrorLevel` is all, error or warning; elements without any of those are left out."""
    findings = [TOP, LABEL, MANY]
    assert validation_answer(findings, "all") == validation_answer(findings)
    assert list(validation_answer(findings, "error")) == ["configuration", "configuration/entityTypes/A"]
    assert validation_answer(findings, "warning") == {
        "configuration/entityTypes/A": {"errors": [], "warnings": [MANY.body()]}
    }
    for level in ("", "ALL", "errors"):
        with pytest.raises(BadRequest):
            validation_answer(findings, level)
