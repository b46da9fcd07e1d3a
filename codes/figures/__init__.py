"""The pictures of fig/, one file for each kind. codes/scripts/make_figures.py draws them all."""
