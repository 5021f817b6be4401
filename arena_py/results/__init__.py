"""The run document and its store."""
