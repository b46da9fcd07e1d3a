"""Measurements, one file each: most of them make a table that the docs show (docs/maintaining.md)."""
