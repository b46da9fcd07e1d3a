"""DSDNet for non-blind image deconvolution: networks, data, training and evaluation."""
