"""Decisions as pure functions: values in, values out; no clock, file, network or log."""
