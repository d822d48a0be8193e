"""What `explain` says of its numbers: columns, classes, units, the learning rate."""

import json
import re

import numpy as np
import pytest

from command_runs import good, read_rows, write_rows

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")


def test_numbers_are_told_in_the_units_of_the_target(tmp_path):
    random = np.random.default_rng(0)
    rows = [[f"{a:.3f}", random.choice(["Rome", "Oslo"]), f"{9000 + 500 * a:.2f}"]
            for a in random.normal(size=60)]  # fmt: skip
    write_rows(tmp_path / "t.csv", [["size", "town", "price"], *rows])
    words = ("train", "t.csv", "--target", "price", "--preset", "fast", "--epochs", 2)
    good(*words, "--learning-rate", 0.002, cwd=tmp_path)
    text = good("explain", "t.safetensors", "t.csv", "--row", 3, cwd=tmp_path)
    assert "learning rate 0.002" in text
    for name in ("size", "town=Oslo", "town=Rome"):
        assert name in text
    good("predict", "t.safetensors", "t.csv", "--out", "p.csv", cwd=tmp_path)
    predicted = float(read_rows(tmp_path / "p.csv")[2]["prediction"])
    answer = re.search(r"answer +(\S+) +(\S+)", text)
    expected = re.search(r"expected +(\S+) +(\S+)\n", text)
    assert float(answer[2]) == pytest.approx(predicted, rel=1e-5)
    assert float(expected[2]) == pytest.approx(float(rows[2][2]), rel=1e-5)
    assert abs(float(expected[1])) < 5
    scale, mean = re.search(r"price = (\S+) \* standardised \+ (\S+)", text).groups()
    assert float(scale) * float(answer[1]) + float(mean) == pytest.approx(predicted, rel=1e-4)


def test_classes_are_told_by_name(tmp_path):
    good("train", "iris", "--preset", "fast", "--epochs", 2, cwd=tmp_path)
    text = good("explain", "iris.safetensors", "iris", cwd=tmp_path)
    assert "learning rate 0.001" in text
    for name in ("petal length (cm)", "setosa", "versicolor", "virginica"):
        assert name in text
    words = ("explain", "iris.safetensors", "iris", "--learning-rate", 0.5, "--json")
    assert json.loads(good(*words, cwd=tmp_path))["learning_rate"] == 0.5
