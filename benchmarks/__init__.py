"""`make bench`: us and the tools people would use instead, on the same work, in one run."""
