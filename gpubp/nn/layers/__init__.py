"""Layers: one file for each kind, with its formula, its backward pass and its parameters."""

from gpubp.nn.layers.dense import Dense
from gpubp.nn.layers.layer import Layer, LayerArrays, Room

__all__ = ["Dense", "Layer", "LayerArrays", "Room"]
