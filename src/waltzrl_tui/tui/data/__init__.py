"""The Data screen."""
