"""Widgets, each for one thing on a screen."""
