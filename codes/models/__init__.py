"""The networks, their weight files, and the restoration of whole images with them."""
