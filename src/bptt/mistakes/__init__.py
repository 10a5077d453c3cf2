"""Mistakes that people make in backpropagation through time, to be planted and found."""
