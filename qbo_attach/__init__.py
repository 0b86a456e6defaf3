"""Moves a QuickBooks Desktop company's attachments into QuickBooks Online, each exactly once."""
