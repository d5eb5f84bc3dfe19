"""Subscriptions: committed changes are announced here, encoded once, and pushed to every matching subscription.

A live subscription gets each change as it is announced. One that is behind has no queue of messages, only the offset
that it has reached; it catches up from the log when its peer reads again. The hub knows sources and topics
(`source.py`); the ledger is one source.
"""
