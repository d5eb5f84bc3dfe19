"""Layers, what counts for each device, and who follows that (fleet.md)."""
