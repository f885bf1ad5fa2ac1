"""Where agents can be trained: one protocol, one package a provider behind it."""
