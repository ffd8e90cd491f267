"""Which model: a name becomes a verified local folder, and the folder says what its numbers mean."""
