"""Datasets, from the publisher's files to the images of one part."""
