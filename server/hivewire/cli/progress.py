"""A progress bar for commands that may take a while."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

Report = Callable[[int, int], None]
"""Gets how much is done, and the total."""


@contextmanager
def progress(words: str) -> Iterator[Report]:
    """A progress bar on standard error if that is a terminal. Gives what moves it."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
