"""The types that the store, the protocol and the screens share, each defined once."""
