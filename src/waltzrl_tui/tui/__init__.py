"""The terminal app: screens and widgets over the domain packages; no logic of its own."""
