"""Presets: what they say, what replaces it, and that the documentation says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

import gpubp
from gpubp import errors
from gpubp.tables.recipe import PRESETS, Recipe, batch_size, share_held_out

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"


def test_batches_follow_the_rows():
    rows = (10, 1023, 1024, 2048, 8000, 8192, 50_000, 60_000, 10**7)
    sizes = [batch_size(each, "classification") for each in rows]
    assert sizes == [16, 16, 32, 64, 128, 256, 256, 512, 2048]
    assert [batch_size(each, "regression") for each in rows] == [32, 32, 32, *sizes[3:]]


def test_small_tables_get_more_epochs():
    """As many as make 1,000 steps, with their patience; large ones have those of the preset."""
    small = Recipe.of("default", 96, "regression", {})
    assert small.batch_size == 32
    assert small.epochs * 3 == pytest.approx(1000, abs=3)
    assert small.patience / small.epochs == pytest.approx(1 / 4, rel=0.05)
    assert Recipe.of("default", 20_000, "regression", {}).epochs == 32
    assert Recipe.of("fast", 96, "regression", {}).epochs * 3 == pytest.approx(600, abs=3)
    assert Recipe.of("default", 5, "regression", {}).batch_size == 5


def test_large_tables_learn_faster():
    cases = [
        ("fast", 2000, (0.001, 0.001)),
        ("fast", 2001, (0.004, 0.004)),
        ("default", 2001, (0.002, 0.004)),
        ("best", 2001, (0.002, 0.004)),
    ]
    for preset, rows, rates in cases:
        for task, rate in zip(("regression", "classification"), rates, strict=True):
            assert Recipe.of(preset, rows, task, {}).learning_rate == rate
    given = Recipe.of("fast", 5000, "classification", {"learning_rate": 0.01})
    assert given.learning_rate == 0.01


def test_huge_tables_get_fewer_epochs():
    """As many as make 20,000 steps."""
    huge = Recipe.of("default", 10_000_000, "regression", {})
    assert huge.epochs * 10_000_000 / huge.batch_size == pytest.approx(20_000, rel=0.05)


def test_settings_replace_those_of_the_preset():
    found = Recipe.of("fast", 1000, "classification", {"members": 3, "dropout": None, "epochs": 2})
    assert (found.members, found.dropout, found.epochs) == (3, 0.2, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"members": 1.5}, "members is 1.5"),
        ({"learning_rate": -1}, "learning_rate is -1"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(errors.GpubpError, match=message):
        Recipe.of("default", 100, "regression", settings)


def test_the_learning_rate_falls_to_zero_with_half_a_cosine():
    recipe = Recipe(epochs=4, batch_size=10, learning_rate=0.01)
    rate = recipe.make_optimizer(95).learning_rate
    assert rate(0) == 0.01
    assert rate(20) == pytest.approx(0.005)
    assert rate(40) == pytest.approx(0)
    assert Recipe(schedule="constant").make_optimizer(95).learning_rate == 0.001
    with pytest.raises(errors.UnknownNameError, match="did you mean 'cosine'"):
        Recipe(schedule="cosin").make_optimizer(95)


def test_the_running_mean_goes_back_over_a_share_of_all_steps():
    recipe = Recipe(epochs=32, batch_size=10)
    assert recipe.fit_settings(95, "regression", True)["average"] == 0.9  # of 320 steps 10
    assert recipe.fit_settings(95, "regression", False)["average"] is None
    assert recipe.fit_settings(10, "regression", True)["average"] is None  # of 32 steps one
    none = recipe.with_settings({"average": 0})
    assert none.fit_settings(95, "regression", True)["average"] is None
    with pytest.raises(
        errors.ConfigurationError, match=r"average is 1; a number from 0 to below 1"
    ):
        Recipe(average=1)


def test_smoothing_is_for_classes():
    recipe = Recipe(label_smoothing=0.1)
    assert recipe.loss("regression") == Recipe().loss("classification") == "auto"
    assert recipe.loss("classification") == gpubp.losses.cross_entropy(0.1)


def described(preset: str) -> str:
    """Return the line of the page that describes a preset."""
    few, many = (Recipe.of(preset, rows, "regression", {}) for rows in (10_000, 10_001))
    classes = Recipe.of(preset, 20_000, "classification", {})
    hidden = " x ".join([str(len(few.hidden)), str(few.hidden[0])])
    held = "; ".join(f"{share_held_out(preset, rows):g}" for rows in (10_000, 10_001))
    return (
        f"| `{preset}` | {few.members}; {many.members}"
        f" | {few.epochs}; {classes.epochs} | {hidden}"
        f" | {few.bins}, {few.embedding} | {held} |"
    )


def test_the_page_says_what_the_presets_are():
    page = PAGE.read_text()
    for preset in PRESETS:
        assert described(preset) in page, described(preset)


def test_a_loss_that_is_named_is_taken():
    assert (
        Recipe.of("fast", 100, "regression", {"loss_name": "huber"}).loss("regression") == "huber"
    )
    assert Recipe.of("fast", 100, "regression", {}).loss("regression") == "auto"
