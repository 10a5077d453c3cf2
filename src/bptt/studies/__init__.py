"""Studies: many settings, many seeds, one answer."""
