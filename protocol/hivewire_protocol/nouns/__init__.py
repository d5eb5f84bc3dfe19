"""Requests, replies and pushes as structs, one noun per file."""
