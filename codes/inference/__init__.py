"""A network restores images: whole or in tiles, on any device."""
