"""Custody: what is kept is verified, collected when nothing needs it, backed up and brought back."""
