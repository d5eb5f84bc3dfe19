"""The property dialect: pages, and who is asking in it."""
