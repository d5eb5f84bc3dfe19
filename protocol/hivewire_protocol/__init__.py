"""The wire protocol: messages, errors, close codes and the two framings.

Rules of this package: pure functions and plain structs. No sockets, clock, threads, files or logging here; the same
input always gives the same output.
"""
