"""`python -m hivewire` is the command `hivewire`."""

from hivewire.cli import main

if __name__ == "__main__":
    main()
