"""Jobs as processes: starting, watching, cancelling, resuming, and finding the dead ones."""
