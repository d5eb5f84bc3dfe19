"""Fuzzing: what takes bytes or text from strangers returns or raises the errors that it documents, nothing else."""
