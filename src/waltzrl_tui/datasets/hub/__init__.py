"""Datasets from the Hugging Face hub."""
