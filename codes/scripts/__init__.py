"""Command-line helpers beside test.py and train.py."""
