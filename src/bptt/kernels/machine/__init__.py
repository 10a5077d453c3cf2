"""What kernels are made of, and how they are compiled and kept: nothing here knows of networks."""
