"""Proof by kill -9: real processes of `qbo-attach run` killed at many points, then the ledger counted."""
