"""Networks, augmentation and recipes, each defined once."""
