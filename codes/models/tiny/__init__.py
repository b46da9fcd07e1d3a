"""DSDNetTiny, a network of our own, and the denoiser in it."""
