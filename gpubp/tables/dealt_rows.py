"""Which rows of a table a model was trained on: their hashes, and how they were dealt."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import ConfigurationError, ModelFileError
from gpubp.tables.encoding import as_texts
from gpubp.tables.json_fields import is_text, read_field
from gpubp.tables.splits import Split, check_shares, train_validation_test_split
from gpubp.tables.table import Table

UNKNOWN = -1  # in place of a part
MOST_HASHES = 32_768  # kept in a model file; of more rows the smallest hashes are kept
ALL_HASHES = 2**64 - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # this and the next two: SplitMix64 of Steele et al. 2014
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True, eq=False)
class DealtRows:
    """How the rows of a table were dealt to parts, and which rows training used.

    A row is known again by a hash of its values. Of at most 32,768 rows all hashes are kept, of
    more the smallest ones (a bottom-k sketch, Cohen and Kaplan 2007), so that the share of rows
    that training used can still be told.

    Attributes
    ----------
    seed : int
        Of the deal.
    test, validation : float
        Shares of the rows in these parts.
    digest : str
        Of all hashes in the order of the table, which tells that table from others.
    limit : int
        Largest hash that is kept.
    train, held : array of uint64
        Sorted hashes of the rows in the training and in the validation part, up to the limit.
    """

    seed: int
    test: float
    validation: float
    digest: str
    limit: int
    train: NDArray[np.uint64]
    held: NDArray[np.uint64]

    @classmethod
    def of(
        cls, table: Table, columns: list[str], split: Split, shares: tuple[float, float], seed: int
    ) -> DealtRows:
        """Note how a table was dealt, given the shares of test and validation.

        Rows are told apart by the columns named.
        """
        hashes = row_hashes(table, columns)
        used = hashes[np.concatenate([split.train, split.validation])]
        limit = ALL_HASHES
        if len(used) > MOST_HASHES:
            limit = int(np.partition(used, MOST_HASHES - 1)[MOST_HASHES - 1])
        train, held = (_kept(hashes[rows], limit) for rows in (split.train, split.validation))
        return cls(seed, shares[0], shares[1], _digest(hashes), limit, train, held)

    def parts_of(
        self, table: Table, columns: list[str], labels: NDArray[Any] | None
    ) -> NDArray[np.int8]:
        """Return the part of every row, (rows,): 0 training, 1 validation, 2 neither, -1 unknown.

        The table of the training is dealt as it was. Of another a row counts as trained on when a
        row like it was; of a large training only the rows up to the limit are known.

        Parameters
        ----------
        labels
            Class of each row, by which the parts were dealt; None for a regression.
        """
        hashes = row_hashes(table, columns)
        parts = np.full(table.rows, 2, np.int8)
        if _digest(hashes) == self.digest:
            split = train_validation_test_split(
                table.rows, self.test, self.validation, self.seed, labels
            )
            parts[split.train], parts[split.validation] = 0, 1
            if np.array_equal(_kept(hashes[split.train], self.limit), self.train):
                return parts
        parts[:] = np.where(hashes <= np.uint64(self.limit), 2, UNKNOWN)
        parts[np.isin(hashes, self.held)] = 1
        parts[np.isin(hashes, self.train)] = 0
        return parts

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "seed": self.seed,
            "test": self.test,
            "validation": self.validation,
            "digest": self.digest,
            "limit": self.limit,
            "train_hashes": _packed(self.train),
            "validation_hashes": _packed(self.held),
        }

    @classmethod
    def from_dict(cls, data: Any) -> DealtRows:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        seed = read_field(data, "seed", _is_whole, "a whole number")
        test = read_field(data, "test", _is_share, "a share from 0 to below 1")
        validation = read_field(data, "validation", _is_share, "a share from 0 to below 1")
        try:
            check_shares(test, validation, seed)
        except ConfigurationError as error:
            raise ModelFileError(f"preprocessing has rows dealt as none can be: {error}") from error
        return cls(
            seed,
            float(test),
            float(validation),
            read_field(data, "digest", is_text, "a string"),
            read_field(data, "limit", _is_hash, "a whole number of 64 bits"),
            _unpacked(read_field(data, "train_hashes", is_text, "a string")),
            _unpacked(read_field(data, "validation_hashes", is_text, "a string")),
        )


def row_hashes(table: Table, columns: list[str]) -> NDArray[np.uint64]:
    """Return a hash of every row's values in some columns, (rows,)."""
    state = np.zeros(table.rows, np.uint64)
    for name in columns:
        state = _mixed(state * np.uint64(31) + _value_hashes(table, name) + _GOLDEN)
    return state


def _value_hashes(table: Table, name: str) -> NDArray[np.uint64]:
    """Return 64 bits that stand for each value of a column."""
    if table.kinds[name] != "text":
        values = table.column(name)
        plain = np.where(np.isnan(values), np.nan, values + 0.0)  # one NaN, and no -0
        return _mixed(plain.view(np.uint64))
    texts = as_texts(table, name)
    known = {text: _text_hash(text) for text in set(texts.tolist())}
    return np.fromiter((known[text] for text in texts), np.uint64, len(texts))


def _text_hash(text: str | None) -> int:
    digest = hashlib.blake2b(b"\0" if text is None else text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    for shift, factor in zip((30, 27), _MIX, strict=True):
        bits = (bits ^ (bits >> np.uint64(shift))) * factor
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def _kept(hashes: NDArray[np.uint64], limit: int) -> NDArray[np.uint64]:
    return np.sort(hashes[hashes <= np.uint64(limit)])


def _digest(hashes: NDArray[np.uint64]) -> str:
    return hashlib.blake2b(hashes.astype("<u8").tobytes(), digest_size=16).hexdigest()


def _packed(hashes: NDArray[np.uint64]) -> str:
    return base64.b64encode(hashes.astype("<u8").tobytes()).decode()


def _unpacked(text: str) -> NDArray[np.uint64]:
    """Return hashes that `_packed` wrote; raises ModelFileError if they are none."""
    try:
        codes = np.frombuffer(base64.b64decode(text, validate=True), "<u8")
    except (ValueError, binascii.Error) as error:
        raise ModelFileError(f"preprocessing has torn hashes of rows: {error}") from error
    return codes.astype(np.uint64)


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_hash(value: Any) -> bool:
    return _is_whole(value) and 0 <= value <= ALL_HASHES


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1
