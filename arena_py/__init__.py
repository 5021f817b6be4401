"""Arena: which framework computes a model correctly, how fast, in how much memory, and what must be shipped."""

__version__ = "0.1.0"
