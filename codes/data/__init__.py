"""Images, kernels, the forward model y = Hx + n, and the data sets made of them."""
