"""Together."""
