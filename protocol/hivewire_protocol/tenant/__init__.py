"""The tenant configuration dialect: the meaning of its documents, without HTTP and storage.

```text
documents.py      from bytes to a document and back
elements.py       the walk over everything in a document that has a URI of its own
validation.py     from a document to findings; the table of rules
model.py          an index of the whole document for the rules
rules/            the rules themselves, one subject a file
errors.py         every error of the dialect, with its status, code and words
ids.py            generated ids, and the members that the server sets
dates.py          updatedTime, If-Unmodified-Since, Last-Modified
differences.py    which elements two versions add, remove and modify
objects.py        reading and changing one type or one part of it
work.py           whole operations from bytes to bytes: validating, saving, showing
steps.py          long work in slices
```

The rules of the parent package apply here too. Documents are plain dictionaries and lists; no function changes the
document it is given. Work that grows with the document comes in steps (`steps.py`). Section numbers are those of the
tenant configuration contract.
"""
