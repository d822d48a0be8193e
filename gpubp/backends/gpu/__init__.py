"""NVIDIA GPUs: arrays and kernels by CuPy, products by cuBLASLt."""
