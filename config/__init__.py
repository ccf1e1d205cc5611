"""Settings as data, and the one strict loader."""
