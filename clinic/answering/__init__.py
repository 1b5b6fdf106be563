"""The deployment of a model, and its answers for pictures."""
