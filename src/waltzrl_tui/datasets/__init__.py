"""Datasets: reading, querying, profiling and sampling them."""
