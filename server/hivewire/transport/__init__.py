"""Bytes: admission, HTTP and WebSocket connections, event streams.

Rules of the room: the only folder that knows uvicorn and websockets.
"""
