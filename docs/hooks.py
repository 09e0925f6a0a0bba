"""Pages written from the code when the site is built, so that they cannot go stale, and the order of all pages."""

import ast
import pkgutil
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the pages describe this checkout, whatever version is installed

import pluralign  # noqa: E402
from pluralign.feedback.formats import formats  # noqa: E402
from pluralign.objectives import Objective, catalogue  # noqa: E402
from pluralign.online import Learner  # noqa: E402
from pluralign.online import catalogue as learners  # noqa: E402

MODULES = tuple(m.name for m in pkgutil.iter_modules(pluralign.__path__) if m.name not in ("__main__", "cli"))

# Pages named here stand first or last; every other page is a chapter of the guide, between them.
FIRST = ("index.md",)
LAST = (
    "formats.md",
    "objectives.md",
    "learners.md",
    "methods.md",
    "own-loop.md",
    "own-objective.md",
    "objectives-lab.md",
    "trl-agreement.md",
    "api/",
    "design.md",
    "decisions.md",
    "contributing.md",
    "changelog.md",
)


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    pages = {
        "objectives.md": objectives_page(),
        "learners.md": learners_page(),
        "formats.md": formats_page(),
        "methods.md": methods_page(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(),
        "api/index.md": api_index(),
        **{f"api/{module}.md": f"# pluralign.{module}\n\n::: pluralign.{module}\n" for module in MODULES},
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_nav(nav: Any, config: Any, files: Files) -> Any:
    """Put the pages in order."""
    for item in nav.items:
        if item.is_section:
            item.title = {"Api": "API"}.get(item.title, item.title)
    nav.items.sort(key=_place)
    return nav


def _place(item: Any) -> tuple[int, str]:
    path = item.file.src_uri if item.is_page else f"{item.title.lower()}/"
    if path in FIRST:
        return FIRST.index(path), ""
    if path in LAST:
        return len(FIRST) + 1 + LAST.index(path), ""
    return len(FIRST), path


def api_index() -> str:
    """The list of documented modules with the first line of each docstring."""
    rows = [f"| [`pluralign.{module}`]({module}.md) | {_first_line(module)} |" for module in MODULES]
    head = [
        "# API",
        "",
        "Every public name of the package, module by module.",
        "",
        "| module | holds |",
        "| --- | --- |",
    ]
    return "\n".join([*head, *rows, ""])


def _first_line(module: str) -> str:
    path = Path(pluralign.__path__[0]) / module
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    # Read, not imported: some modules need torch.
    return _cell((ast.get_docstring(ast.parse(source.read_text())) or "").partition("\n")[0])


def formats_page() -> str:
    """Every format the package reads, from its `FORMAT`."""
    lines = [
        "# Formats",
        "",
        "What `pluralign.read(source)` and every command recognise by themselves; `format=` (or `--format`) overrules."
        " A format that can be written takes every judgement it can hold without loss.",
        "",
        "| format | what it is | written too |",
        "| --- | --- | --- |",
    ]
    for name, form in formats().items():
        lines.append(f"| `{name}` | {_cell(form.about)} | {'yes' if form.write else ''} |")
    return "\n".join([*lines, ""])


def objectives_page() -> str:
    """Every objective, from its own docstring, options and declarations."""
    every = catalogue()
    lines = [
        "# Objectives",
        "",
        "One equation each. Give the name to `--objective` and the options as flags, or call it from "
        "[a loop of your own](own-loop.md). Losses are minimised; y_w is the preferred response, y_l the other.",
        "",
        "A row may carry a **weight** and, if it is a pair, a **soft label**: the chance that its label is right, over "
        "which the loss is averaged. A row's own **beta** replaces the option. A column that an objective has no use "
        "for is an error. What the needs mean stands under [`Need`](api/objectives.md#pluralign.objectives.Need).",
        "",
        "| objective | equation | needs |",
        "| --- | --- | --- |",
    ]
    for name, each in every.items():
        lines.append(f"| [`{name}`](#{name}) | `{each.equation.rstrip('.')}` | {_needs(each)} |")
    for name, each in every.items():
        lines += ["", f"## {name} {{ #{name} }}", "", *_objective(each)]
    return "\n".join([*lines, ""])


def learners_page() -> str:
    """Every learner of samples, from its own docstring, options and declarations."""
    lines = [
        "# Learners of samples",
        "",
        "One equation each, over what a policy sampled and a judge said; see [`pluralign.online`](api/online.md). pi_t "
        "is the policy when the round began, y_w the preferred one of two draws, y_l the other. **Any objective of "
        "pairs in the [catalogue](objectives.md) is a learner too**: its name alone makes the online method, with the "
        "reference as anchor; `anchor='previous'` makes the iterative one. [Learners of games](games.md) shows some of "
        "them at work.",
        "",
        "| learner | equation | judge says | draws from |",
        "| --- | --- | --- | --- |",
    ]
    for name, each in learners().items():
        lines.append(
            f"| [`{name}`](#{name}) | `{_cell(each.equation.rstrip('.'))}` | {_judged(each)} | {_laws(each)} |"
        )
    for name, each in learners().items():
        source = f"{each.paper}, [arXiv:{each.arxiv}](https://arxiv.org/abs/{each.arxiv})" if each.arxiv else each.paper
        about = each.doc.partition("\n")[2].strip()
        own = "only the policy's own draws serve" if each.on_policy else "draws of any law serve"
        lines += [
            "",
            f"## {name} {{ #{name} }}",
            "",
            "```text",
            each.equation,
            "```",
            "",
            about,
            "",
            f"- **Source**: {source}",
            f"- **Judge says**: {_judged(each)}; at least {each.group} draw{'s' * (each.group > 1)} a prompt; {own}",
            f"- **Draws from**: {_laws(each)}",
            f"- **Needs**: {', '.join(sorted(each.needs())) or 'nothing more'}",
            *_options(each),
        ]
    return "\n".join([*lines, ""])


def _judged(each: Learner) -> str:
    asked = {"preference", "components"} & each.needs()
    return str(each.judge) if each.judge != "nothing" or not asked else ", ".join(sorted(asked))


def _laws(each: Learner) -> str:
    def written(law: Any) -> str:
        return " ".join(name if weight == 1 else f"{name}^{weight:g}" for name, weight in law.items() if weight)

    said = []
    for stage in each.plan().stages:
        if stage.redraw:
            against = "" if stage.opponent in (None, stage.law) else f" against {written(stage.opponent)}"
            said.append(written(stage.law) + against)
    return ", then ".join(said)


METHODS = {
    "On data": (
        "Feedback in, feedback out, before any training; each says in the feedback's history what it did and left out.",
        ["pluralign.feedback.recipes"],
    ),
    "Rounds and moving references": (
        "`align --sync-ref-model` lets the reference follow the policy (tr_dpo); `--curriculum` trains in rounds.",
        ["pluralign.train.rounds", "pluralign.train.moving"],
    ),
    "Heads trained beside the policy": (
        "`align --objective sparse_po --token-masks common`, `align --objective spo_selfsup --degrees 4`.",
        ["pluralign.train.heads"],
    ),
    "Diagnostics": (
        "Ranking accuracy, difficulty, reliance on length and slopes are metrics of every run and stand in its report.",
        ["pluralign.evaluate.diagnostics", "pluralign.evaluate.ches", "pluralign.evaluate.difficulty"],
    ),
}


def methods_page() -> str:
    """Methods of papers that are no loss: on data, in training, as diagnostics; from their docstrings."""
    lines = [
        "# Methods beside the loss",
        "",
        "What papers propose that is no loss: it changes the data, moves the reference, or measures. Losses stand "
        "under [Objectives](objectives.md). Written from the code when the site is built.",
    ]
    for title, (words, modules) in METHODS.items():
        lines += ["", f"## {title}", "", words, ""]
        lines += [f"::: {module}\n    options:\n      heading_level: 3\n" for module in modules]
    return "\n".join([*lines, ""])


def _objective(each: Objective) -> list[str]:
    _, _, words = each.doc.partition("\n")
    source = f"[{each.paper}](https://arxiv.org/abs/{each.arxiv})" if each.arxiv else each.paper
    lines = [
        "```{ .text .equation }",
        each.equation.rstrip("."),
        "```",
        words.strip("\n"),
        "",
        f"- **Source**: {source}",
        f"- **Rows**: {', '.join(each.rows)}",
        f"- **Needs**: {_needs(each)}",
        f"- **Row columns it uses**: {', '.join(_columns(each))}",
        f"- **Reduces to**: {_reduces(each)}",
    ]
    return [*lines, *_options(each)]


def _options(each: Objective | Learner) -> list[str]:
    properties = _properties(each)
    if not properties:
        return ["- **Options**: none"]
    lines = ["", "| option | default | values |", "| --- | --- | --- |"]
    return lines + [f"| `{name}` | `{about['default']}` | {_bounds(about)} |" for name, about in properties.items()]


def _reduces(each: Objective) -> str:
    found = []
    for condition, other in each.reduces.items():
        name = other.partition("(")[0]
        told = f"[`{other}`](#{name})" if name in catalogue() and (other == name or other.endswith(")")) else other
        given = f"with `{condition}`" if "=" in condition else condition
        found.append(f"{told} ({given})")
    return "; ".join(found) or "nothing simpler"


def _needs(each: Objective) -> str:
    always = each.needs()
    found = sorted(always)
    for name, about in _properties(each).items():
        for value in about.get("enum", ()):
            found += [f"{need} (with {name} = {value})" for need in sorted(each.needs(**{name: value}) - always)]
    return ", ".join(found) or "nothing but the policy"


def _properties(each: Objective | Learner) -> dict[str, dict[str, Any]]:
    return each.options.model_json_schema().get("properties", {})


def _columns(each: Objective) -> list[str]:
    beta = {"beta"} & set(each.options.model_fields)
    soft = {"probability"} if "pairs" in each.rows else set()
    return sorted({"weight"} | soft | set(each.uses) | beta)


def _bounds(about: dict[str, Any]) -> str:
    if "enum" in about:
        return ", ".join(f"`{value}`" for value in about["enum"])
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    return ", ".join(f"{sign} {about[key]:g}" for key, sign in signs.items() if key in about) or about.get(
        "type", "any"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
