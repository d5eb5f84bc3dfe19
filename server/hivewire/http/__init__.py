"""One pipeline for every HTTP dialect."""
