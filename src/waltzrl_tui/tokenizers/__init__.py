"""Token counts by the models' own tokenizers, or estimated."""
