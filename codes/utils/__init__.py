"""Helpers with nothing of deconvolution in them: errors, files, registries."""
