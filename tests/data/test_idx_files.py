"""Files as MNIST comes in, written here byte by byte."""

import gzip
import struct

import numpy as np
import pytest

from gpubp.errors import DataError
from gpubp.tables.table import read_table

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 2, 4), dtype=np.uint8)
LABELS = np.array([7, 0, 9], np.uint8)


def content(values, kind=8):
    head = struct.pack(f">HBB{values.ndim}I", 0, kind, values.ndim, *values.shape)
    return head + values.tobytes()


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_images_are_columns_of_pixels_with_their_labels(tmp_path, ending):
    packed = gzip.compress if ending else bytes
    path = tmp_path / f"train-images-idx3-ubyte{ending}"
    path.write_bytes(packed(content(IMAGES)))
    found = read_table(path)
    assert list(found.columns) == [f"pixel_{row}_{place}" for row in (0, 1) for place in range(4)]
    np.testing.assert_array_equal(found.column("pixel_1_2"), IMAGES[:, 1, 2])
    (tmp_path / f"train-labels-idx1-ubyte{ending}").write_bytes(packed(content(LABELS)))
    assert read_table(path).column("label").tolist() == [7, 0, 9]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"", "does not begin as an IDX file"),
        (b"a,b\n1,2\n", "does not begin as an IDX file"),
        (content(IMAGES, kind=7), "does not begin as an IDX file"),
        (b"\0\0\x08\x00", "does not begin as an IDX file"),
        (content(IMAGES)[:-1], r"has 39 bytes and shape \[3, 2, 4\] needs 40"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "needs"),
        (gzip.compress(content(IMAGES), mtime=0)[:-9], "cannot be read as an IDX file"),
        (content(IMAGES[:0]), "has a header but no rows"),
    ],
)
def test_what_is_no_such_file(tmp_path, written, message):
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(written)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_a_label_for_each_image(tmp_path):
    (tmp_path / "a-images-idx3-ubyte").write_bytes(content(IMAGES))
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(content(LABELS[:2]))
    with pytest.raises(DataError, match=r"labels of shape \(2,\) and .* 3 images"):
        read_table(tmp_path / "a-images-idx3-ubyte")
