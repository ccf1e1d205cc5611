"""Benchmarks: what the hot path costs, beside what others cost, as JSON."""
