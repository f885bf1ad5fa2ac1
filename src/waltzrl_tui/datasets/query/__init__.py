"""Filters, orders and histograms over the rows of a dataset, run by DuckDB."""
