"""Chat with any model, whatever serves it: one streaming driver behind every client."""
