"""Bytes: admission, HTTP and WebSocket connections, event streams.

Only this folder, `http` and the command line know network libraries.
"""
