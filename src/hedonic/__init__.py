"""Hedonic: a self-hosted factory for price models."""
