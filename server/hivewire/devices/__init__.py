"""Networks, device types and devices: records of the ledger, and who reaches them."""
