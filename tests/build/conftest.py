"""The fixture of these tests."""

from house import house_fixture

__all__ = ["house_fixture"]
