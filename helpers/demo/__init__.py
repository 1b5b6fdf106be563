"""Generator of the demo data."""
