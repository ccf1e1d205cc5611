"""Channels to consumers; every one carries the same bytes."""
