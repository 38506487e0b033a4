"""Models that lie elsewhere, used in place."""
