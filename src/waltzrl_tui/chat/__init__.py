"""Conversations with pairs: transcripts, export, training rows, votes, and what they cost."""
