"""Datasets, from the published files to the images of one part of the split."""
