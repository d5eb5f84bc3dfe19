"""Who may do what: tokens, passwords, users, and how often a password may be guessed.

The rule here: a secret never leaves, not in logs, not in errors, not in `repr`.
"""
