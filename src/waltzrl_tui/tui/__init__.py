"""The terminal app: one package a screen over the domain packages; no logic of its own."""
