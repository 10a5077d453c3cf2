"""A batch, forward and back through time, for any cell and regime."""
