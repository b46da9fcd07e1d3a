"""Restoring one's own images: files, kernels, tiles, checks; codes/deblur.py is the command line."""
