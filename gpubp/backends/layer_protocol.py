"""What a backend must provide for kinds of layers besides the dense one; see protocol.py."""

from __future__ import annotations

from typing import Any, Protocol

from gpubp.backends.scratch import Array, Scratch

NORM_EPSILON = 1e-5  # added to a variance; PyTorch's


class Normalization(Protocol):
    """Layer and batch normalisation: n = (x - mean) / sqrt(variance + epsilon), in place in n.

    `inverse` is 1 / sqrt(...), of each row or each column.
    """

    def normalize_rows(self, n: Array, inverse: Array, scratch: Scratch) -> None:
        """Normalise each row; inverse (rows,)."""

    def normalize_columns(
        self, n: Array, inverse: Array, statistics: Array, scratch: Scratch
    ) -> None:
        """Normalise each column; inverse (columns,), mean and unbiased variance (2, columns)."""

    def normalize_columns_by(self, n: Array, inverse: Array, statistics: Array) -> None:
        """Normalise each column by the statistics given."""

    def scale_columns(self, n: Array, gamma: Array, z: Array) -> None:
        """Write z = gamma * n; z may be n."""

    def sum_products(self, a: Array, b: Array, sums: Array, scratch: Scratch) -> None:
        """Write the sum over the rows of a * b, for each column."""

    def normalize_rows_backward(
        self,
        n: Array,
        inverse: Array,
        gamma: Array,
        delta: Array,
        dgamma: Array,
        scratch: Scratch,
    ) -> None:
        """Turn the gradient by gamma * n + bias into that by x, in place, and write dgamma."""

    def normalize_columns_backward(
        self,
        n: Array,
        inverse: Array,
        gamma: Array,
        delta: Array,
        dbias: Array,
        dgamma: Array,
        fixed: bool,
        scratch: Scratch,
    ) -> None:
        """Do the same for columns, given dbias; `fixed` where the statistics were."""


class Categories(Protocol):
    """Categories embedded: see `gpubp.nn.layers.categories`."""

    def embed_categories(self, x: Array, codes: Any, weight: Array, place: Array, y: Array) -> None:
        """Write the row of the weight that each code selects, -1 for none, and y, those rows."""

    def embed_categories_backward(
        self, codes: Any, place: Array, dy: Array, dweight: Array
    ) -> None:
        """Write the gradient by the weight, summed in one order."""

    def embed_categories_slope(self, codes: Any, dy: Array, dx: Array) -> None:
        """Write the gradient by x, which is 0 by a code."""


class Embeddings(Protocol):
    """Numbers embedded by piecewise-linear bins: see `gpubp.nn.layers.piecewise_linear`."""

    def find_bins(self, x: Array, bins: Any, cell: Array, share: Array) -> None:
        """Write the bin that each embedded number lies in, and how far into it."""

    def embed_numbers(
        self,
        x: Array,
        bins: Any,
        cell: Array,
        share: Array,
        weight: Array,
        bias: Array,
        table: Array,
        y: Array,
        scratch: Scratch,
    ) -> None:
        """Write y = x w + c + the rows of the table before the bin + share * its own row."""

    def embed_numbers_backward(
        self,
        x: Array,
        bins: Any,
        cell: Array,
        share: Array,
        dy: Array,
        dweight: Array,
        dbias: Array,
        dtable: Array,
    ) -> None:
        """Write the gradients by weight, bias and table."""

    def embed_numbers_slope(
        self, bins: Any, cell: Array, dy: Array, weight: Array, table: Array, dx: Array
    ) -> None:
        """Write the gradient by x."""


class Mixing(Protocol):
    """Activations with a mixing factor of each neuron: y = z + factor (f(z) - z).

    None of `name` may depend on whole rows; factor and its gradient are (columns,).
    """

    def mix(
        self, name: str, z: Array, bias: Array, factor: Array, y: Array, scratch: Scratch
    ) -> None:
        """Add the bias to z, which keeps the weighted sum, and write y."""

    def mix_backward(
        self,
        name: str,
        z: Array,
        factor: Array,
        dy: Array,
        dz: Array,
        dbias: Array,
        dfactor: Array,
        scratch: Scratch,
    ) -> None:
        """Write dz = dy (1 + factor (f'(z) - 1)), which may be dy, and sums over the rows.

        dbias is the sum of dz, dfactor that of dy (f(z) - z).
        """


class PeriodicEmbeddings(Protocol):
    """Numbers embedded by waves: see `gpubp.nn.layers.periodic`."""

    def embed_periodic(
        self,
        x: Array,
        waves: Any,
        frequency: Array,
        phase: Array,
        weight: Array,
        bias: Array,
        wave: Array,
        y: Array,
    ) -> None:
        """Write the waves of each number, and y, what linear maps make of them."""

    def embed_periodic_backward(
        self,
        x: Array,
        waves: Any,
        weight: Array,
        wave: Array,
        y: Array,
        dy: Array,
        dfrequency: Array,
        dphase: Array,
        dweight: Array,
        dbias: Array,
    ) -> None:
        """Write the gradients by frequency, phase, weight and bias."""

    def embed_periodic_slope(
        self,
        waves: Any,
        frequency: Array,
        weight: Array,
        wave: Array,
        y: Array,
        dy: Array,
        dx: Array,
    ) -> None:
        """Write the gradient by x."""
