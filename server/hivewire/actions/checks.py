"""Checks of members that several actions take, with the reference server's texts (core protocol, section 1.8)."""

from __future__ import annotations

from hivewire_protocol.errors import InvalidParameters

MAX_NAME, MAX_DESCRIPTION = 128, 128
"""Characters, of networks, device types and devices."""


def violation(member: str, value: str | None, rule: str) -> InvalidParameters:
    """The error for a member of an object that breaks a rule."""
    return InvalidParameters(
        "Error! Make sure, that the passed object is correct and properly structured. Validation failed: \n"
        f"On property {member} (value: {'null' if value is None else value}): {rule} ; "
    )
