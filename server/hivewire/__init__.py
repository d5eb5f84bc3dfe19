"""Hivewire: the configuration gateway. `app.py` builds it; docs/architecture.md describes the packages."""

__version__ = "0.1.0"
"""As in pyproject.toml: to ask the installed package for it would read the metadata of packages at each start."""
