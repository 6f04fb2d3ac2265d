"""`python -m chopmark` is the command line."""

from chopmark.cli import main

main()
