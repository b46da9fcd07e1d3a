"""The pictures of fig/, one file a kind; codes/scripts/make_figures.py draws them all."""
