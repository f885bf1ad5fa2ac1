"""Where agents can be trained: one protocol, one module a provider behind it."""
