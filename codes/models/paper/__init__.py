"""The network of the paper, DSDNet, and the authors' successor DSDNet+."""
