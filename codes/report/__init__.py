"""The report of a run: one HTML file with its tables, scores and previews of its images."""
