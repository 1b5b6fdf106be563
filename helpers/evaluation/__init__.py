"""Evaluation of predictions, with confidence intervals that resample lesions."""
