"""Further commands, next to test.py, train.py and deblur.py."""
