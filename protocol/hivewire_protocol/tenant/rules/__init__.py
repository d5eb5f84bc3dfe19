"""The rules that a document has to keep, one subject a file; the table of them is in `validation.py`.

A rule is a function of one element and the model. It yields what it finds and never raises: members may hold any JSON
whatsoever, since `structure.py` reports what is of the wrong type while the others look on.
"""
