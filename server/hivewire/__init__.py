"""Hivewire: the configuration gateway. `app.py` builds it; docs/architecture.md describes the packages."""
