"""Every operation of a step in array expressions, for NumPy and CuPy: see operations.py.

They are the readable specification of `kernels/*.cuh`. Activations, losses and updates are each a
formula and one entry of a table. From the tables are made: what the NumPy backend computes, the
GPU's kernels (`gpubp/backends/gpu/kernel_table.py`), the tables of the CPU's compiled kernels
(`setup.py` reads the entries before anything is installed: what it needs is written as a literal),
and what networks, reports and exports need to know.
"""
