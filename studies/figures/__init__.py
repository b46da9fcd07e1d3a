"""The pictures of fig/, one file for each kind. studies/make_figures.py draws them all."""
