"""What is in a dataset: counts, duplicates, labels, personal data, contamination."""
