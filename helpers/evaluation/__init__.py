"""How good predictions are, with intervals by lesion."""
