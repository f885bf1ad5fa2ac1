"""Seeded, stratified samples and their recipes."""
