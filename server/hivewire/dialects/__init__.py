"""What is served over HTTP: each dialect is a table of routes, and how to parse and render."""
