"""What values under a name may be: JSON Schemas, as records (fleet configuration, section 7)."""
