"""Monitoring: what somebody should know of, and who is told."""
