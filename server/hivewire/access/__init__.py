"""Access control: tokens, passwords, users, tenants, and limits on guessing passwords.

Rule of this package: secrets never appear in logs, errors or `repr`.
"""
