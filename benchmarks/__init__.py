"""Benchmarks: each prints the figures that the README quotes."""
