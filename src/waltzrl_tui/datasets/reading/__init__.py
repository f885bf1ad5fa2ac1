"""From a file of any format to rows, or to the reason why it gives none."""
