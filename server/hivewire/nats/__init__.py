"""NATS JetStream as an ordered log that several gateways share: the connection, the streams, and the log itself.

It knows nothing of what an entry holds. The client library is the extra `nats`, imported when a connection is opened.
"""
