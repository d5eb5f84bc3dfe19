"""Hivewire beside what people would pick instead: the same work, durable, on this machine: `make bench-peers`."""

from __future__ import annotations

from bench.peers.brokers import JetStream, Messages, MessagesInMemory
from bench.peers.etcd import Etcd
from bench.peers.hivewire import Hivewire
from bench.peers.mosquitto import Mosquitto
from bench.peers.nats import Nats
from bench.peers.peer import Peer
from bench.peers.pocketbase import PocketBase
from bench.peers.redis import Redis

PEERS: dict[str, type[Peer]] = {peer.program: peer for peer in (Hivewire, Nats, PocketBase, Etcd, Redis)}
"""The stores by the name of the program; Hivewire is the first."""

BROKERS: dict[str, type[Peer]] = {peer.program: peer for peer in (Messages, MessagesInMemory, JetStream, Mosquitto)}
"""The brokers of messages, likewise."""
