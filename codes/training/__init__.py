"""Training: options, losses, schedule, checkpoints, validation, monitoring, and the loop itself."""
