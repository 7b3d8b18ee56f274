"""Figures, not tests: each benchmark starts what it needs, prints CPU per event, and stops it."""
