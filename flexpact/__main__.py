"""`python -m flexpact`: the command line."""

from flexpact.cli import main

main()
