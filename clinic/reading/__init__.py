"""Finds files, checks them, and decodes their pictures."""
