"""Moves a QuickBooks Desktop company's attachments into QuickBooks Online, each exactly once."""

__version__ = "0.1.0"
