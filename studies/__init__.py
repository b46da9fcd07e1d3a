"""One small file for each table of measurements that the docs show."""
