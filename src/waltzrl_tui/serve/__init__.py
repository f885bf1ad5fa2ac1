"""Pairs behind an OpenAI-compatible endpoint, for any client that can use a model."""
