"""The command line: one command a stage, and those that a person needs around them.

Exit status: 0 nothing left to do; 1 finished, rows need a person; 2 not started: settings or input;
3 stopped or unfinished: run again to go on.
"""

from qbo_attach.cli.entry import main

__all__ = ["main"]
