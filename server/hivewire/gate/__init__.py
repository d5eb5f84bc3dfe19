"""Bytes in and out: the only room that knows uvicorn, starlette and websockets.

uvicorn owns the port. HTTP goes through Starlette; a WebSocket upgrade hands the connection to our own protocol.
"""
