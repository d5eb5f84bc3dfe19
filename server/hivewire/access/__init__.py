"""Who may do what: tokens, passwords, users, and how often a password may be guessed.

Rules of the room: secrets come in and never go out, not into logs, not into errors, not into `repr`.
"""
