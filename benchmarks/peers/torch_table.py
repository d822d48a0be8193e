"""One network of gpubp's default for tables, written in PyTorch: the same sizes, bins and steps.

Bins beside numbers that many rows share are left out; rules of batches and epochs are those of
`gpubp.tables.recipe` for up to 50,000 rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from torch import nn
from torch.nn import functional

WIDTH, EMBEDDING, DECAY, BOUND = 256, 16, 0.1, 3.0


class Embedding(nn.Module):
    """Piecewise-linear embedding, version B, of all columns at once, as rtdl_num_embeddings."""

    def __init__(self, bins: list[np.ndarray]) -> None:
        super().__init__()
        most = max(len(edges) for edges in bins) - 1
        low, width = torch.zeros(len(bins), most), torch.full((len(bins), most), torch.inf)
        floor, ceiling = torch.zeros(len(bins), most), torch.ones(len(bins), most)
        for column, edges in enumerate(bins):
            count = len(edges) - 1
            low[column, :count] = torch.tensor(edges[:-1])
            width[column, :count] = torch.tensor(np.diff(edges))
            floor[column, 0], ceiling[column, count - 1] = -torch.inf, torch.inf
        for name, value in (("low", low), ("width", width), ("floor", floor), ("ceiling", ceiling)):
            self.register_buffer(name, value)
        start = EMBEDDING**-0.5
        self.weight = nn.Parameter(torch.empty(len(bins), EMBEDDING).uniform_(-start, start))
        self.bias = nn.Parameter(torch.empty(len(bins), EMBEDDING).uniform_(-start, start))
        self.table = nn.Parameter(torch.zeros(len(bins), most, EMBEDDING))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (rows, columns * EMBEDDING)."""
        share = (x[:, :, None] - self.low) / self.width
        share = torch.minimum(torch.maximum(share, self.floor), self.ceiling)
        bent = torch.einsum("rct,ctd->rcd", share, self.table)
        return (x[:, :, None] * self.weight + self.bias + bent).flatten(1)


class TorchTable:
    """An estimator with scikit-learn's `fit` and predictions."""

    def __init__(self, prepared: Any, numbers: int, classify: bool, seed: int) -> None:
        self.prepared, self.numbers = prepared, numbers
        self.classify, self.seed = classify, seed
        self.leaf = 16 if classify else 5

    def fit(self, x: Any, y: Any) -> TorchTable:
        """Train with a fifth of the rows held out."""
        torch.manual_seed(self.seed)
        order = np.random.RandomState(self.seed).permutation(len(x))
        held = len(x) // 5
        self.prepared.fit(x.iloc[order[held:]])
        every = self._inputs(x)
        if self.classify:
            self.classes_, codes = np.unique(y, return_inverse=True)
            targets = torch.tensor(codes)
        else:
            self.mean, self.scale = float(y.mean()), float(y.std())
            targets = torch.tensor(((y - self.mean) / self.scale).to_numpy("float32"))
        train, validation = torch.tensor(order[held:]), torch.tensor(order[:held])
        kind = DecisionTreeClassifier if self.classify else DecisionTreeRegressor
        bins = []
        for column in every[train, : self.numbers].T.numpy():
            tree = kind(max_leaf_nodes=128, min_samples_leaf=self.leaf, min_impurity_decrease=1e-5)
            found = tree.fit(column[:, None], targets[train].numpy()).tree_
            splits = found.threshold[found.feature >= 0]
            bins.append(np.unique([column.min(), *splits, column.max()]).astype("float32"))
        self._build(bins, every.shape[1])
        self._train(every, targets, train, validation)
        return self

    def _inputs(self, x: Any) -> torch.Tensor:
        values = np.asarray(self.prepared.transform(x), np.float32)
        numbers = values[:, : self.numbers]
        numbers /= np.sqrt(1 + (numbers / BOUND) ** 2)
        return torch.tensor(values)

    def _build(self, bins: list[np.ndarray], inputs: int) -> None:
        self.embed = Embedding(bins)
        width = len(bins) * EMBEDDING + inputs - len(bins)
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Linear(width, WIDTH), nn.Mish() if self.classify else nn.ReLU()]
            layers += [nn.Dropout(0.2)] * self.classify
            width = WIDTH
        self.body = nn.Sequential(
            *layers, nn.Linear(width, len(self.classes_) if self.classify else 1)
        )
        self.net = nn.ModuleList([self.embed, self.body])

    def _outputs(self, x: torch.Tensor) -> torch.Tensor:
        rest = x[:, self.numbers :]
        return self.body(torch.cat([self.embed(x[:, : self.numbers]), rest], dim=1))

    def _loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        outputs = self._outputs(x)
        return (
            functional.cross_entropy(outputs, y)
            if self.classify
            else functional.mse_loss(outputs[:, 0], y)
        )

    def _train(self, x: Any, y: Any, train: torch.Tensor, validation: torch.Tensor) -> None:
        rows = len(train)
        size = 16 if self.classify else 32
        while size < 256 and 64 * size <= rows:
            size *= 2
        a_epoch = -(-rows // size)
        epochs = 24 if self.classify else 32
        epochs = max(epochs, round(1000 / a_epoch))
        steps, patience = epochs * a_epoch, round(epochs / 4)
        rate = (4e-3 if self.classify else 2e-3) if rows > 2000 else 1e-3
        optimizer = torch.optim.AdamW(self.net.parameters(), rate, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        parameters = list(self.net.parameters())
        means = [each.detach().clone() for each in parameters]
        best, kept, since = float("inf"), means, 0
        for _ in range(epochs):
            self.net.train()
            order = train[torch.randperm(len(train))]
            for start in range(0, rows, size):
                batch = order[start : start + size]
                optimizer.zero_grad()
                self._loss(x[batch], y[batch]).backward()
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    torch._foreach_lerp_(means, parameters, 32 / steps)
            self.net.eval()
            since += 1
            own = [each.detach().clone() for each in parameters]
            with torch.no_grad():
                for values in (means, own):
                    torch._foreach_copy_(parameters, values)
                    loss = float(self._loss(x[validation], y[validation]))
                    if loss < best:
                        best, kept, since = loss, [each.clone() for each in values], 0
            if since >= patience:
                break
        with torch.no_grad():
            torch._foreach_copy_(parameters, kept)

    def predict(self, x: Any) -> np.ndarray:
        """Return numbers, (rows,)."""
        with torch.inference_mode():
            return self._outputs(self._inputs(x))[:, 0].numpy() * self.scale + self.mean

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return probabilities, (rows, classes)."""
        with torch.inference_mode():
            return torch.softmax(self._outputs(self._inputs(x)), dim=1).numpy()
