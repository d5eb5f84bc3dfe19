"""The rules that a document has to keep, one subject a file; the table of them is in `validation.py`.

A rule is a function of one element and the model. It yields what it finds, and None for each entry of an array that it
looks through, so that whoever runs it can take breaks. It raises nothing but TooLong: members may hold any JSON
whatsoever, since `structure.py` reports what is of the wrong type while the others look on.
"""
