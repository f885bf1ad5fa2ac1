"""Near duplicates: MinHash signatures, verified by true similarity."""
