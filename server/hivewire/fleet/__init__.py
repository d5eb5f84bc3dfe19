"""Layers, the effective values of each device, and the subscriptions to them (fleet.md)."""
