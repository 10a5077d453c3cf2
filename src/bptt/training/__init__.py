"""Training: settings, the run and its records, its folder, its figure."""
