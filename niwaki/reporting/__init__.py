"""The report: what a run did and what its result is worth, as one HTML file."""
