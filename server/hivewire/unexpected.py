"""Logging unexpected errors of one task or callback, so that they do not affect others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


def log_unexpected(message: str, error: Exception) -> None:
    """Hand an error to the exception handler of the event loop, which logs it."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})


def safely(message: str, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a function; its error is logged under `message` and not raised."""
    try:
        call(*args, **kwargs)
    except Exception as error:
        log_unexpected(message, error)
