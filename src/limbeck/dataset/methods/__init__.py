"""Ways of making a small set: one a file."""
