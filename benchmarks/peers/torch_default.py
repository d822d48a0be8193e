"""gpubp's default network for tables in PyTorch, in the form that is fastest there on a CPU."""

from __future__ import annotations

import torch
from cases import Case
from default_network import (
    BINS,
    CATEGORY_WIDTH,
    DROPOUT,
    EMBEDDING,
    NAMES,
    NUMBERS,
    edges,
    start,
)
from torch import nn
from torch.nn import functional

ACTIVATIONS = {"mish": nn.Mish, "relu": nn.ReLU}


class PiecewiseLinear(nn.Module):
    """Piecewise-linear embedding, version B of rtdl_num_embeddings.

    A product with the components of every number; a look-up of the two rows that count takes longer
    here, eager and compiled.
    """

    def __init__(self) -> None:
        super().__init__()
        bounds = torch.from_numpy(edges())
        floor, ceiling = torch.zeros(NUMBERS, BINS), torch.ones(NUMBERS, BINS)
        floor[:, 0], ceiling[:, -1] = -torch.inf, torch.inf
        self.register_buffer("low", bounds[:, :-1].contiguous())
        self.register_buffer("width", bounds.diff())
        self.register_buffer("floor", floor)
        self.register_buffer("ceiling", ceiling)
        self.weight = nn.Parameter(torch.empty(NUMBERS, EMBEDDING))
        self.bias = nn.Parameter(torch.empty(NUMBERS, EMBEDDING))
        self.table = nn.Parameter(torch.empty(NUMBERS, BINS, EMBEDDING))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (rows, NUMBERS * EMBEDDING)."""
        share = (x[:, :, None] - self.low) / self.width
        share = torch.minimum(torch.maximum(share, self.floor), self.ceiling)
        bent = torch.bmm(share.transpose(0, 1), self.table).transpose(0, 1)
        return (x[:, :, None] * self.weight + self.bias + bent).flatten(1)


class DefaultNetwork(nn.Module):
    """Embeddings, hidden layers and the output, with the first parameters of `default_network`."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        first, rate = start(case), DROPOUT[case.activation]
        self.names = nn.Embedding(NAMES, CATEGORY_WIDTH)
        self.numbers = PiecewiseLinear()
        layers: list[nn.Module] = []
        dense = []
        for weight, _ in first["dense"]:
            dense.append(nn.Linear(*weight.shape))
            layers += [dense[-1], ACTIVATIONS[case.activation](), *[nn.Dropout(rate)] * bool(rate)]
        self.body = nn.Sequential(*layers[: layers.index(dense[-1]) + 1])
        with torch.no_grad():
            self.names.weight.copy_(torch.from_numpy(first["names"]))
            for name in ("weight", "bias", "table"):
                getattr(self.numbers, name).copy_(torch.from_numpy(first[name]))
            for layer, (weight, bias) in zip(dense, first["dense"], strict=True):
                layer.weight.copy_(torch.from_numpy(weight.T))
                layer.bias.copy_(torch.from_numpy(bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (rows, outputs), logits or numbers."""
        names, numbers, passing = x.split([1, NUMBERS, x.shape[1] - 1 - NUMBERS], 1)
        named = self.names(names[:, 0].long())
        return self.body(torch.cat([self.numbers(numbers), named, passing], 1))


def loss_of(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean loss: of classes, or of numbers."""
    if y.dtype == torch.int64:
        return functional.cross_entropy(outputs, y)
    return functional.mse_loss(outputs[:, 0], y)
