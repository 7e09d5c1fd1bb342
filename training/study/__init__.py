"""Better than the paper's router? Routers of every kind on the bundled family, on the same step pairs."""
