"""A pair behind an OpenAI-compatible endpoint: whatever speaks to a model can speak to it."""
