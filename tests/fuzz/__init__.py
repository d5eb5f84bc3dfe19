"""Fuzzing: what takes bytes or text from the network returns or raises the errors that it documents, nothing else."""
