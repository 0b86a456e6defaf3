"""A mapping made from what Desktop and QuickBooks Online both say of a transaction."""
