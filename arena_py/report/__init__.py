"""One module an output, all from the same run document."""
