"""Who follows what: committed changes are announced here, encoded once, and pushed to every subscription they match.

A subscription is either live, and gets each change as it is announced, or behind: then only the offset that it has
reached is remembered, no message, and it catches up from the log when its peer reads again. The hub knows sources and
topics (`source.py`); the ledger is one source.
"""
