"""Prefect at the edge: the same stages as the command line, watched in the Prefect UI."""
