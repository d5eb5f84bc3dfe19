"""The rules for documents, one file for each subject. Their table is in `validation.py`.

A rule is a function of one element and the model. It yields what it finds, and None for each entry of an array that it
looks through, so that its caller can pause. Members may hold any JSON, but a rule raises nothing except TooLong:
`structure.py` reports members of the wrong type, and the other rules ignore them.
"""
