"""Gradients of the weights of all layers by one kernel: see `kernels/tiles.cuh`.

A layer's own are computed by too few threads for a large device. An update in the same kernel was
tried on an H100: it is slower than a kernel of its own, which has more threads on their way.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from gpubp.backends.gpu.block_kernel import BlockKernel, BlockKernels, fours, literal
from gpubp.backends.gpu.elementwise import C_TYPES
from gpubp.backends.gpu.tiles import Tiling, first_of, product_type
from gpubp.backends.scratch import Array

# Whose terms are the rows of a batch; see `tiles.ALONG`
ACROSS = (2, Tiling(32, 32, 4, 32, 1)), (1 << 40, Tiling(32, 32, 2, 32, 1))


class Layer(NamedTuple):
    """What gradients of a layer's weights are computed from, and where they go."""

    x: Array
    delta: Array
    dweight: Array
    dbias: Array
    scale: float


class Aligned(NamedTuple):
    """Whether a layer's inputs, its delta and its gradients can be taken by fours."""

    inputs: bool
    delta: bool
    gradients: bool

    @classmethod
    def of(cls, layer: Layer) -> Aligned:
        """Return that of a layer."""
        (_, inputs), (_, outputs) = layer.x.shape, layer.delta.shape
        return cls(
            fours(layer.x, inputs),
            fours(layer.delta, outputs),
            fours(layer.dweight, outputs),
        )


class CupyTiledGradients:
    """What the CuPy backend does with gradients of weights by tiles."""

    multiprocessors: int
    _blocks: BlockKernels

    def tiled_gradients(self, layers: Sequence[Layer]) -> None:
        """Write gradients of the weights and biases of layers."""
        shapes = [one.dweight.shape for one in layers]
        tiling = first_of(
            ACROSS,
            lambda tiling: sum(tiling.tiles(*shape) for shape in shapes),
            self.multiprocessors,
        )
        forms = tuple(Aligned.of(one) for one in layers)
        stored = C_TYPES[layers[0].delta.dtype.name]
        kernel = gradients_kernel(tiling, stored, forms)
        arguments: list[Any] = [len(layers[0].x)]
        for one in layers:
            arguments += [one.x, one.delta, one.dweight, one.dbias, *one.dweight.shape, one.scale]
        blocks = sum(tiling.tiles(*shape) for shape in shapes)
        self._blocks.launch(kernel, blocks, tiling.memory, arguments)


@cache
def gradients_kernel(tiling: Tiling, stored: str, forms: tuple[Aligned, ...]) -> BlockKernel:
    """Make the kernel of the gradients of layers of these forms."""
    parameters, body = ["long long terms"], []
    for number in range(len(forms)):
        parameters += [
            *(f"const {stored}* x{number}", f"const {stored}* delta{number}"),
            *(f"float* dweight{number}", f"float* dbias{number}"),
            *(f"long long inputs{number}", f"long long outputs{number}", f"float scale{number}"),
        ]
        down = f"(inputs{number} + {tiling.rows - 1}) / {tiling.rows}"
        right = f"(outputs{number} + {tiling.columns - 1}) / {tiling.columns}"
        body.append(f"  const long long tiles{number} = {down} * ({right});\n")
    body.append("  long long tile = blockIdx.x;\n")
    for form in sorted(set(forms)):
        alike = [number for number, one in enumerate(forms) if one == form]
        body.append(_of_aligned(tiling, stored, form, alike))
    return BlockKernel(
        "gpubp_tiled_gradients",
        tuple(parameters),
        "".join(body),
        tiling.threads,
    )


def _of_aligned(tiling: Tiling, stored: str, form: Aligned, layers: Sequence[int]) -> str:
    """Return the text for layers that are aligned alike, which share the code of a product."""
    of_x, of_delta, of_gradients = map(literal, form)
    then = f"gpubp::Gradients<{of_gradients}>"
    product = product_type(tiling, stored, ("false", of_x, "false", of_delta), then)
    together = " + ".join(f"tiles{number}" for number in layers)
    lines = [
        f"  if (tile < {together}) {{\n    long long inputs = 0, outputs = 0;\n"
        f"    const {stored} *x = 0, *delta = 0;\n"
        "    float *dweight = 0, *dbias = 0, scale = 0;\n"
    ]
    chosen = "if (tile"
    for number in layers:
        lines.append(
            f"    {chosen} < tiles{number})\n"
            f"      x = x{number}, delta = delta{number}, inputs = inputs{number},"
            f" outputs = outputs{number},\n"
            f"      dweight = dweight{number}, dbias = dbias{number}, scale = scale{number};\n"
        )
        chosen = f"else if ((tile -= tiles{number})"
    lines.append(
        f"    {product}::run({{x, inputs}}, {{delta, outputs}}, inputs, outputs, terms, tile,\n"
        f"        memory, {then}{{dweight, dbias, outputs, scale}});\n"
        f"    return;\n  }}\n  tile -= {together};\n"
    )
    return "".join(lines)
