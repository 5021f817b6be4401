"""The reference, error norms and the gate."""
