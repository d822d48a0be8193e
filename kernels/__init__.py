"""CUDA C++ headers of gpubp: one source for the GPU and for the host compiler."""
