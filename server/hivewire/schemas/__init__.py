"""JSON Schemas of configurations, as records of the ledger (fleet configuration, section 7)."""
