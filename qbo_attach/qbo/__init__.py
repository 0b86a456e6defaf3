"""All of httpx: what we say to QuickBooks Online, and what it says to us."""
