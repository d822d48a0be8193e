"""The CPU: plain NumPy, and compiled kernels where they were built."""
