"""Traces: all numbers of a batch's way forward and back through time, and what they say."""
