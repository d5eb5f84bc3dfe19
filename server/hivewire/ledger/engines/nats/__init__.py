"""The engine that several gateways share: a log on NATS JetStream, with a copy of it in a local file."""
