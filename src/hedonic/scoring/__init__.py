"""Scoring a table file: rows in, estimates out, however long it is."""
