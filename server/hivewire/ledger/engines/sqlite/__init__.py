"""SQLite: the ledger is one file. `engine.py` is what the table of engines names, `journal.py` the log."""
