"""The ledger of a parent process, for the gateways that it started: all share its file, and each has all in memory.

`service.py` is the parent's end, which owns the real journal; `journal.py` that of a gateway; `wire.py` what they say.
"""
