"""`python -m qbo_attach.cli`."""

from qbo_attach.cli.entry import main

main()
