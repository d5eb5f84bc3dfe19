"""Messages of devices: two logs of what expires, commands and notifications, beside the ledger.

`messages.py` is the component with both, `log.py` one log. Engines are behind the contract in `contract.py`. Nothing
here knows records of the ledger or subscriptions.
"""
