"""Values of parameters in the query (site properties, section 2)."""

from __future__ import annotations

import re

from hivewire_protocol.errors import InvalidParameters

_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def boolean(name: str, text: str) -> bool:
    """The value of a boolean parameter. Raises InvalidParameters."""
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise InvalidParameters(f"{name} must be true or false") from None


def integer(name: str, text: str, least: int | None = None) -> int:
    """The value of an integer parameter. Raises InvalidParameters."""
    if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII) or (least is not None and int(text) < least):
        raise InvalidParameters(f"{name} must be an integer" + (f" of {least} or more" if least is not None else ""))
    return int(text)
