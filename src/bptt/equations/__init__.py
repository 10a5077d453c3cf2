"""Pointwise equations of cells, outputs with their losses, and optimizers: no shapes, no loops."""
