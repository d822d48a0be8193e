"""Counter-based random numbers: the same for a seed on every backend, in any order of asking."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import ConfigurationError, brief

Seed = int | np.random.Generator | np.random.RandomState | np.random.SeedSequence | None

# The second half of the Philox key says what the numbers are for; layers are added to it.
INITIAL_WEIGHTS = 0
SHUFFLE = 1 << 32
DROPOUT = 2 << 32
CHECK = 3 << 32
SPLIT = 4 << 32
INITIAL_BIASES = 5 << 32
INITIAL_ROWS = 6 << 32


def generator(seed: int, stream: int, step: int = 0) -> np.random.Generator:
    """Return NumPy's generator over Philox 4x64 with key (seed, stream), counter (0, step, 0, 0).

    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". `kernels/random.cuh` draws
    the same numbers on a GPU.
    """
    key = np.array([seed, stream], np.uint64)
    counter = np.array([0, step, 0, 0], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def checked_seed(seed: Seed) -> int:
    """Return the seed as a number.

    None draws one from the operating system; NumPy's generators, of today and before, draw one
    themselves, so that the next network made with the same generator is another one; a sequence of
    seeds always gives its own.

    Raises
    ------
    ConfigurationError
        When the seed is none of these, or a number not from 0 to 2**64 - 1.
    """
    if seed is None:
        seed = np.random.SeedSequence()
    if isinstance(seed, np.random.SeedSequence):
        return int(seed.generate_state(1, np.uint64)[0])
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(1 << 64, dtype=np.uint64))
    if isinstance(seed, np.random.RandomState):
        return int(seed.randint(1 << 32, dtype=np.uint64))
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
        raise ConfigurationError(
            f"seed is {brief(seed)}; None, one of NumPy's generators or a whole number from 0 to"
            " 2**64 - 1 is needed"
        )
    return int(seed)


def as_random_state(random_state: Any) -> Any:
    """Return a generator as a RandomState that draws from it; anything else as it is.

    scikit-learn's `check_random_state` takes RandomState alone.
    """
    if isinstance(random_state, np.random.Generator):
        return np.random.RandomState(random_state.bit_generator)
    return random_state


def permutation(seed: int, epoch: int, rows: int, kind: int = 0) -> NDArray[np.int64]:
    """Return the order of the rows in one epoch, shape (rows,).

    Other kinds are other orders: those of what data sets are read in (`gpubp.data.blocks`).

    The rows are sorted by random keys, which a GPU does in the same way: a shuffle that swaps rows
    one after the other would give it an order that it could not find itself.
    """
    mask = np.uint64((1 << (rows - 1).bit_length()) - 1)
    random = generator(seed, SHUFFLE + kind, epoch)
    keys: NDArray[np.uint64] = random.bit_generator.random_raw(rows)
    # the row's own number in the lowest bits: no two keys are equal
    keys &= ~mask
    keys |= np.arange(rows, dtype=np.uint64)
    keys.sort()
    keys &= mask
    return keys.view(np.int64)
