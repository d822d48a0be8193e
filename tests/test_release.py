"""What a release is made of: the automation asks for little, and every file names one version."""

from __future__ import annotations

import re
import runpy
import sysconfig
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")
pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="these files are not in the sdist")

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def jobs(path):
    return yaml.safe_load(path.read_text())["jobs"]


@every_workflow
def test_actions_are_pinned_by_commit_and_say_which_version_it_is(path):
    lines = [line for line in path.read_text().splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not PINNED.search(line)] == []


@every_workflow
def test_permissions_are_reading_alone_but_for_what_publishing_needs(path):
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    more = {name: job["permissions"] for name, job in jobs(path).items() if "permissions" in job}
    publishing = {"contents": "read", "id-token": "write", "attestations": "write"}
    assert more == ({"publish": publishing} if path.stem == "release" else {})


@every_workflow
def test_no_secret_is_used_and_no_checkout_leaves_its_token(path):
    assert "secrets." not in path.read_text()
    steps = [step for job in jobs(path).values() for step in job["steps"]]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@every_workflow
def test_every_job_has_a_time_limit(path):
    assert [name for name, job in jobs(path).items() if "timeout-minutes" not in job] == []


def test_only_a_tag_publishes_and_only_what_was_built_before():
    publish = jobs(ROOT / ".github/workflows/release.yml")["publish"]
    assert publish["if"] == "github.ref_type == 'tag'"
    assert set(publish["needs"]) == {"wheels", "sdist"}
    assert not any("checkout" in step.get("uses", "") for step in publish["steps"])


def test_every_supported_python_is_tested_and_named():
    found = jobs(ROOT / ".github/workflows/tests.yml")["tests"]["strategy"]["matrix"]["python"]
    named = re.findall(r"Python :: (3\.\d+)", " ".join(project()["classifiers"]))
    assert found == named
    assert project()["requires-python"] == f">={found[0]}"


def test_one_version_everywhere():
    version = project()["version"]
    recipe = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text())
    assert recipe["context"]["version"] == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version


def test_the_recipe_asks_for_what_the_package_asks_for():
    recipe = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text())
    needs = [need.replace(" ", "") for need in recipe["requirements"]["run"]]
    assert needs[1:] == project()["dependencies"]
    assert f">={recipe['context']['python_min']}" == project()["requires-python"]


@pytest.mark.parametrize("free_threaded", [0, 1])
def test_only_python_with_the_global_lock_gets_kernels_and_an_abi3_wheel(
    free_threaded, monkeypatch
):
    """setuptools builds nothing where the stable ABI is asked of a free-threaded Python."""
    setuptools = pytest.importorskip("setuptools")
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **settings: given.update(settings))
    monkeypatch.setitem(sysconfig.get_config_vars(), "Py_GIL_DISABLED", free_threaded)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    assert bool(given["ext_modules"]) is not bool(free_threaded)
    assert ("py_limited_api" in given["options"]["bdist_wheel"]) is not bool(free_threaded)
