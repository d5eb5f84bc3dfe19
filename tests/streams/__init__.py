"""The store of messages: engines, one log, and both together."""
