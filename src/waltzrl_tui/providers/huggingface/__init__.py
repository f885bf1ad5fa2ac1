"""Hugging Face Jobs."""
