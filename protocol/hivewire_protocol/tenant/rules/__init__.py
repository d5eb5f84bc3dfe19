"""The rules that a document has to keep, one subject a file; the table of them is in `validation.py`.

A rule is a function of one element and the model. It yields what it finds, and None for each entry of an array that it
looks through, so that its caller can pause. It raises nothing but TooLong, although members may hold any JSON:
`structure.py` reports members of the wrong type, and the other rules ignore them.
"""
