"""Small recurrent networks trained by backpropagation through time."""

__version__ = "0.1.0"
