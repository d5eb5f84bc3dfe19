"""The wiki dialect, `site/properties`: etags, abort tables, batches, documents in XML and JSON."""
