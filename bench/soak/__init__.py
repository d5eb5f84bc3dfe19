"""Loads that last while gateways and NATS nodes are killed: `make soak`, `make soak-cluster`.

Writers record the answers that they got, watchers every frame. At the end, each answered write, each transaction, and
the frames and state of each watcher are compared with the ledger's history. Further clients have names of their own and
record each call and each answer: an order of the calls must explain all answers. If anything was lost, duplicated, out
of order, incomplete or different, the first evidence is printed and the exit code is 1.
"""
