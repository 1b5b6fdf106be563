"""Networks, augmentation and training recipes, each defined once."""
