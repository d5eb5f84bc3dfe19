"""Hivewire: the configuration gateway. `app.py` builds it, `gate` is its outside, `ledger` its memory."""
