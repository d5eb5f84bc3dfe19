"""Where everything is kept: records of any kind, their changes, and one writer.

Rules of the room: nothing here knows of sockets, tokens or JSON. Above the engine there is no SQL and no row id, and
nothing assumes that this process is the only writer of the journal for ever.
"""
