"""Running notebooks, jobs and searches, and reporting what they left."""
