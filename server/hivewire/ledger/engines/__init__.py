"""Storage engines, one a file, all behind `journal.py`. They do not know one another, nor the ledger above them."""
