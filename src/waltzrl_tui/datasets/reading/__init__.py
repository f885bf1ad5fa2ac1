"""Read rows from files of any format."""
