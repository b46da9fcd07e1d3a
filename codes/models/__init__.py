"""The networks, the parts they are made of, and their weight files."""
