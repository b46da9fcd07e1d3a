"""Training: options, losses, schedule, checkpoints, validation and reports. The loop is in codes/train.py."""
