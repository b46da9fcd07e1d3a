"""Restoring one's own photographs: reading and writing files, kernels, masks, and checks before the restoration."""
