"""The wiki dialect, `site/properties`: etags, abort tables, batches, answers in XML and JSON."""
