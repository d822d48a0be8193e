"""A simulated CuPy and cuBLASLt, which run the kernels compiled for the host."""
