"""Files, from finding them to the pictures in them."""
