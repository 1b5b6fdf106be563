"""The deployment of a model, and its answers to pictures."""
