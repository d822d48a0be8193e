"""The documentation site: `nox -s docs` builds it, and runs every example on the way."""

from __future__ import annotations

import os
import re
import shutil
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from gpubp.inspection.lessons import write_lessons

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
os.environ.setdefault("MPLBACKEND", "agg")

project = "gpubp"
author = "The gpubp developers"
release = version = installed_version("gpubp")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.mermaid",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = "gpubp"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": True}
html_static_path: list[str] = []

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc shows those of the docstrings
numpydoc_show_class_members = False

# Inventories of other projects are fetched over the network, which a build may not have; then what
# docstrings inherited from scikit-learn refer to is not found.
offline = bool(os.environ.get("GPUBP_DOCS_OFFLINE"))
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "cupy": ("https://docs.cupy.dev/en/stable", None),
    "sklearn": ("https://scikit-learn.org/stable", None),
}
if offline:
    intersphinx_mapping = {}
    suppress_warnings = ["ref.ref"]

sphinx_gallery_conf = {
    "examples_dirs": [str(REPOSITORY / "examples")],
    "gallery_dirs": ["examples"],
    "filename_pattern": ".",
    "abort_on_example_error": True,
    "show_memory": False,
    "download_all_examples": False,
    "remove_config_comments": True,
}

# Pages that lie where they are used, and are read here too.
BORROWED = {
    "kernels/README.md": "reference/kernels.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "results/index.md",
    **{
        f"benchmarks/results/{path.name}": f"results/{path.name}"
        for path in sorted((REPOSITORY / "benchmarks/results").glob("*.md"))
    },
}
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def _relinked(text: str, source: Path, page: Path) -> str:
    """Return a page's text with links to borrowed pages, and without those to files of code."""

    def relink(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target:
            return match[0]
        wanted = (source.parent / target).resolve()
        name = wanted.relative_to(REPOSITORY).as_posix()
        if name in BORROWED:
            where = HERE / BORROWED[name]
        elif wanted.suffix in (".md", ".rst") and wanted.is_relative_to(HERE):
            where = wanted
        else:
            return f"{label} (`{name}`)" if label != name else f"`{name}`"
        relative = os.path.relpath(where, page.parent)
        return f"[{label}]({relative}{anchor})"

    return _LINK.sub(relink, text)


def _borrow(app: Any) -> None:
    shutil.rmtree(HERE / "results", ignore_errors=True)
    for name, place in BORROWED.items():
        source, page = REPOSITORY / name, HERE / place
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_relinked(source.read_text(encoding="utf-8"), source, page))


def _write_lessons(app: Any) -> None:
    """Write the page that is embedded in the tutorial of one step."""
    write_lessons(Path(app.outdir) / "lessons.html")


def _read(app: Any, name: str, content: list[str]) -> None:
    page = Path(app.env.doc2path(name))
    if page.suffix == ".md" and page.relative_to(HERE).as_posix() not in BORROWED.values():
        content[0] = _relinked(content[0], page, page)


def setup(app: Any) -> None:
    """Have borrowed pages copied, lessons written, and links of all pages led to the pages."""
    app.connect("builder-inited", _borrow, priority=100)
    app.connect("builder-inited", _write_lessons)
    app.connect("source-read", _read)
