"""The ledger: records of any kind, their changes, and one writer.

Nothing here knows of sockets, tokens or JSON. Above the engines there is no SQL and no row id, and nothing assumes that
this process is the only one that appends to the journal.
"""
