"""What training both agents costs, where, and what would stop it: estimates before any upload."""
