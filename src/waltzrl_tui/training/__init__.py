"""Launching the training of a pair."""
