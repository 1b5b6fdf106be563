"""The sentences that notebooks conclude from their numbers. Each is tested with numbers that should turn it round."""
