"""Rows rendered into the two agents' training files, in every provider's format."""
