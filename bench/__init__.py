"""How fast it is and how much memory it takes, measured on this machine: `make bench`."""
