"""Requests, replies and pushes as structs, one noun per file.

Their modules do without `from __future__ import annotations`: msgspec would evaluate each annotation anew for each
struct that inherits it, which took a tenth of the start of a gateway.
"""
