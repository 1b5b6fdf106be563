"""Runs notebooks, jobs and searches, and reports their results."""
