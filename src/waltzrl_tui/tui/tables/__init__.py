"""Tables over any number of rows."""
