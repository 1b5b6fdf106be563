"""Finds files, checks them, and decodes the pictures in them."""
