"""The libraries that are compared, each wrapped in the same few functions.

A peer has ``step(case)``, ``epoch(case)`` and ``predict(case)``, which lay everything out and
return a function that repeats the work and returns how often it did; and ``trainer(case, seed)``,
which returns one function that trains for an epoch and one that measures the test accuracy.
"""
