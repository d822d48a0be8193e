"""Products of small batches by kernels of our own, each with all that follows it.

At a batch of a few hundred rows a step is as long as its kernels are many: the library's products
do not fill a large device, and each is followed by others for bias, activation, slope and sums.
Here a layer forward is one kernel, and so is the way down to the layer below; see
`kernels/tiles.cuh`. Whether that is faster is found by timing (`gpubp.backends.gpu.dense`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.backends.gpu.block_kernel import BlockKernel, BlockKernels, fours, literal
from gpubp.backends.gpu.elementwise import C_TYPES
from gpubp.backends.gpu.products import transposed
from gpubp.backends.scratch import Array

STORED = ("float32", "uint16")  # dtypes of what is multiplied: float32 and bfloat16


class Tiling(NamedTuple):
    """How a product is shared out; see `Tiling` in `kernels/tiles.cuh`."""

    rows: int
    columns: int
    groups: int
    warp_rows: int
    ahead: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.rows // self.warp_rows * (self.columns // 32) * 32 * self.groups

    @property
    def memory(self) -> int:
        """Bytes that a block shares: sums of its groups, and of columns."""
        return 4 * self.groups * (self.rows * (self.columns + 8) + 4 * self.columns)

    @property
    def text(self) -> str:
        """As C++ names it."""
        return f"gpubp::Tiling<{', '.join(map(str, self))}>"

    def tiles(self, rows: int, columns: int) -> int:
        """Return how many tiles a result has."""
        return -(-rows // self.rows) * -(-columns // self.columns)


# The first is taken of whose tiles there are at most so many for each multiprocessor of a device,
# by the dtype of what is multiplied: the fastest on an H100.
ALONG = {
    "float32": (
        (1, Tiling(16, 32, 8, 16, 2)),
        (1, Tiling(32, 32, 8, 32, 2)),
        (4, Tiling(32, 32, 4, 32, 2)),
        (1 << 40, Tiling(64, 64, 2, 32, 2)),
    ),
    "uint16": ((1, Tiling(16, 32, 16, 16, 1)), (1 << 40, Tiling(32, 32, 8, 32, 1))),
}
LARGEST = 400_000_000  # multiplications of a product: with more the library's are faster
_SHAPE = ("long long rows", "long long columns", "long long terms", "float scale")


class CupyTiles:
    """What the CuPy backend does by tiles."""

    has_matrix_units: bool
    multiprocessors: int
    _blocks: BlockKernels

    def offers_tiles(self, name: str, a: Array, b: Array, *results: Array) -> bool:
        """Tell whether a product a b, with what goes along with an activation, can be by tiles."""
        arrays = (a, b, *results)
        multiplications = a.shape[0] * a.shape[1] * b.shape[1]
        return (
            self.has_matrix_units
            and not ACTIVATIONS[name].whole_rows
            and 0 < multiplications <= LARGEST
            and a.dtype == b.dtype
            and all(one.dtype.name in STORED and one.size for one in arrays)
        )

    def tiled_forward(
        self, x: Array, weight: Array, bias: Array, name: str, z: Array, y: Array, scale: float
    ) -> None:
        """Do a layer forward: see `Backend.dense_forward`."""
        rows, columns = z.shape
        tiling = self._tiling(x, rows, columns)
        forms = Forms.of(x, weight, (bias, z, y), columns)
        kernel = forward_kernel(name, tiling, _dtypes(x, z, y), forms)
        arguments = (x, weight, bias, z, y, rows, columns, x.shape[1], scale)
        self._blocks.launch(kernel, tiling.tiles(rows, columns), tiling.memory, arguments)

    def tiled_multiply(
        self, a: Array, b: Array, out: Array, scale: float, name: str, kept: Array
    ) -> None:
        """Write f'(kept) scale a @ b."""
        rows, columns = out.shape
        tiling = self._tiling(a, rows, columns)
        forms = Forms.of(a, b, (out, kept), columns)
        kernel = slope_kernel(name, tiling, *_dtypes(a), forms)
        arguments = (a, b, kept, out, rows, columns, a.shape[1], scale)
        self._blocks.launch(kernel, tiling.tiles(rows, columns), tiling.memory, arguments)

    def _tiling(self, a: Array, rows: int, columns: int) -> Tiling:
        tilings = ALONG[a.dtype.name]
        return first_of(tilings, lambda one: one.tiles(rows, columns), self.multiprocessors)


def first_of(
    tilings: Sequence[tuple[int, Tiling]], tiles: Callable[[Tiling], int], multiprocessors: int
) -> Tiling:
    """Return the first of tilings of which there are not too many tiles."""
    return next(one for most, one in tilings if tiles(one) <= most * multiprocessors)


def _dtypes(*arrays: Array) -> tuple[str, ...]:
    return tuple(C_TYPES[one.dtype.name] for one in arrays)


class Forms(NamedTuple):
    """How operands a and b lie, and what follows a product.

    Attributes
    ----------
    along_a, along_b : bool
        Whether the terms of a row of a, or of a column of b, are neighbours in memory.
    fours_a, fours_b, fours : bool
        Whether neighbours can be taken by fours; those of the result and all that goes with it.
    """

    along_a: bool
    fours_a: bool
    along_b: bool
    fours_b: bool
    fours: bool

    @classmethod
    def of(cls, a: Array, b: Array, result: Sequence[Array], columns: int) -> Forms:
        """Return those of a product a b and the arrays that have its columns."""
        along_a, along_b = not transposed(a), transposed(b)
        (rows, terms), (_, outputs) = a.shape, b.shape
        return cls(
            *(along_a, fours(a, terms if along_a else rows)),
            *(along_b, fours(b, terms if along_b else outputs)),
            all(fours(one, columns) for one in result),
        )

    def product(self, tiling: Tiling, stored: str, then: str) -> str:
        """Return the call of a product up to where its tile is to be named."""
        kind = product_type(tiling, stored, [literal(one) for one in self[:4]], then)
        a, b = "terms" if self.along_a else "rows", "terms" if self.along_b else "columns"
        return f"  {kind}::run({{a, {a}}}, {{b, {b}}}, rows, columns, terms, blockIdx.x, memory,"


@cache
def forward_kernel(name: str, tiling: Tiling, dtypes: tuple[str, ...], forms: Forms) -> BlockKernel:
    """Make the kernel of layers with an activation, of x, z and y of these types."""
    of_x, of_z, of_y = dtypes
    then = f"gpubp::Forward<{of_z}, {of_y}, {literal(forms.fours)}, Activation>"
    return BlockKernel(
        f"gpubp_tiled_{name}",
        (
            *(f"const {of_x}* a", f"const {of_x}* b", "const float* bias"),
            *(f"{of_z}* z", f"{of_y}* y", *_SHAPE),
        ),
        f"{forms.product(tiling, of_x, then)}"
        f" {then}{{bias, z, y, columns, scale, Activation()}});\n",
        tiling.threads,
        declarations="struct Activation { GPUBP_HD float operator()(float x) const"
        f" {{ return gpubp::{name}(x); }} }};",
    )


@cache
def slope_kernel(name: str, tiling: Tiling, stored: str, forms: Forms) -> BlockKernel:
    """Make the kernel of the way down to a layer with an activation."""
    then = f"gpubp::Slope<{stored}, {literal(forms.fours)}, Backward>"
    return BlockKernel(
        f"gpubp_tiled_{name}_slope",
        (
            *(f"const {stored}* a", f"const {stored}* b", f"const {stored}* kept"),
            *(f"{stored}* out", *_SHAPE),
        ),
        f"{forms.product(tiling, stored, then)}"
        f" {then}{{kept, out, columns, scale, Backward()}});\n",
        tiling.threads,
        declarations="struct Backward { GPUBP_HD float operator()(float x, float y, float dy) const"
        f" {{ return gpubp::{name}_backward(x, y, dy); }} }};",
    )


def product_type(tiling: Tiling, stored: str, forms: Sequence[str], then: str) -> str:
    """Return the type whose `run` does a product and what follows."""
    along_a, fours_a, along_b, fours_b = forms
    return (
        f"gpubp::TileProduct<{tiling.text}, {stored}, {along_a}, {fours_a}, {along_b}, {fours_b},"
        f" {then}>"
    )
