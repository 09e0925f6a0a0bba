"""The documentation tells the truth: its Python runs, and its generated pages hold what the code declares."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pluralign.feedback.formats import formats
from pluralign.objectives import catalogue

ROOT = Path(__file__).resolve().parents[1]
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if page.is_file()]
BLOCK = re.compile(r"(<!-- not run: .+? -->\s*)?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCK.search(p.read_text())], ids=lambda p: p.stem)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run in order, in one namespace and an empty folder."""
    monkeypatch.chdir(tmp_path)
    text, names = page.read_text(), {"__name__": "__docs__"}
    for match in BLOCK.finditer(text):
        not_run, source = match.groups()
        line = text[: match.start(2)].count("\n")
        code = compile("\n" * line + source, str(page), "exec")  # so that a traceback shows the page's own line
        if not not_run:
            exec(code, names)


def test_every_objective_is_on_its_page() -> None:
    page = load("hooks").objectives_page()
    for name, objective in catalogue().items():
        _, _, section = page.partition(f"## {name} {{ #{name} }}\n")
        section = section.partition("\n## ")[0]
        assert objective.equation.rstrip(".") in section
        assert objective.paper in section
        for option, field in objective.options.model_fields.items():
            assert f"| `{option}` | `{field.default}` |" in section
    assert "prompt (with nll_over = prompt and response)" in page


def test_every_objective_says_what_it_reduces_to() -> None:
    page = load("hooks").objectives_page()
    assert page.count("- **Reduces to**: ") == len(catalogue())
    assert "[`simpo(beta=2.5, gamma=1.5)`](#simpo) (with `alpha=0`)" in page


def test_every_format_is_on_its_page() -> None:
    page = load("hooks").formats_page()
    for name, form in formats().items():
        assert f"| `{name}` |" in page
        assert form.about.replace("|", "\\|") in page


@pytest.mark.parametrize("name", list(catalogue()))
def test_every_objective_says_when_to_use_it(name: str) -> None:
    assert re.search(r"^Use it ", catalogue()[name].doc, re.MULTILINE)


def test_the_site_builds_in_order_and_asks_the_network_for_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    front = (tmp_path / "index.html").read_text()
    titles = [title.strip() for title in re.findall(r'<span class="md-ellipsis">\s*([^<]+)', front)]
    places = [titles.index(title) for title in ("Pluralign", "Formats", "Objectives", "API", "Design", "Changelog")]
    assert places == sorted(places)
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|link|iframe)\b[^>]*?(?:src|href)="(https?:[^"]+)"', page.read_text())
        assert not loaded, f"{page.name} loads {loaded}"


def test_docstrings_become_markdown() -> None:
    to_markdown = load("docstrings").to_markdown
    text = "What it is.\n\nlogp: sums,\n    of tokens.\nsign: one of two.\n\n>>> 1 + 1\n2\n\nThe end."
    assert to_markdown(text) == (
        "What it is.\n\n\n- **logp**: sums,\n    of tokens.\n- **sign**: one of two.\n\n"
        "\n\n```pycon\n>>> 1 + 1\n2\n```\n\nThe end."
    )


def test_no_module_hides_the_recipe_of_its_name() -> None:
    """A module named like its function would hide it from the page."""
    import pkgutil

    from pluralign.feedback import recipes

    modules = {m.name for m in pkgutil.iter_modules(recipes.__path__)}
    assert not modules & set(recipes.__all__)
    assert all(recipes.__dict__[name].__doc__ for name in recipes.__all__)
