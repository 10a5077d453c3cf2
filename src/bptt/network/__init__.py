"""A network: structure and parameters, the walk through time in NumPy, engines, gradient check."""
