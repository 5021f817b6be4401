"""Per architecture: the canonical torch module, seeded weights, inputs, checkpoint names."""
