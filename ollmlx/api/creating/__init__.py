"""POST /api/create."""
