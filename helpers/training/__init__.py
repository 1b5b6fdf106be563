"""From a network and a recipe to a trained model and its predictions."""
