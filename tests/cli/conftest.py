"""A folder with tables and models of them, as a user of the command has one."""

import shutil

import numpy as np
import pytest

from command_runs import good, write_rows


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A mixed table of classes, one of numbers, and a model of each."""
    pytest.importorskip("typer")
    pytest.importorskip("pyarrow")
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("command")
    random = np.random.default_rng(0)
    people, incomes = [["age", "town", "rich"]], [["age", "town", "income"]]
    for number in range(200):
        age, town = random.uniform(20, 70), random.choice(["Rome", "Oslo", ""])
        income = 30 * age + 400 * (town == "Oslo") + random.normal(0, 20)
        shown = "" if number % 17 == 0 else f"{age:.1f}"
        people.append([shown, town, "yes" if income > 1500 else "no"])
        incomes.append([shown, town, f"{income:.2f}"])
    write_rows(folder / "people.csv", people)
    write_rows(folder / "incomes.csv", incomes)
    good("train", "people.csv", "--target", "rich", "--epochs", 15, cwd=folder)
    good("train", "incomes.csv", "--target", "income", "--out", "income.model", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A copy of that folder for the tests of a file, which may write into it."""
    return shutil.copytree(trained, tmp_path_factory.mktemp("copy") / "command")
