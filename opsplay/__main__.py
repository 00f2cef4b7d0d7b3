"""`python -m opsplay` is the command line."""

from opsplay.cli import main

main()
