"""Activations, losses and updates: each a formula in NumPy and one entry of a table.

The formulas are the readable specification of `kernels/*.cuh`. From the tables are made: what the
NumPy backend computes, the GPU's kernels (`gpubp/backends/gpu/kernel_table.py`), the tables of the
CPU's compiled kernels (`setup.py` reads the entries before anything is installed: what it needs is
written as a literal), and what networks, reports and exports need to know.
"""
