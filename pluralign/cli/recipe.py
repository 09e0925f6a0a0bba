"""`pluralign recipe`: methods of papers that work on the data."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from pluralign.cli.align import extra_options
from pluralign.errors import OptionError

SETTINGS = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
}
OFFERED = ("bco_match", "curry_dpo", "ddpo", "mapl", "ra_dpo", "rise", "selective_dpo", "sem_dpo")
"""Recipes that need nothing but options; crpo takes functions of yours and is called from Python."""


def recipe(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="ra_dpo, curry_dpo, selective_dpo, rise, mapl, ...")] = None,
    source: Annotated[str | None, typer.Argument(help="File, folder or hub name of the feedback.")] = None,
    out: Annotated[Path | None, typer.Argument(help="Where to write: .parquet, .jsonl or .jsonl.gz.")] = None,
    embed: Annotated[
        str | None, typer.Option(help="Model whose hidden states say what texts are alike; their words if left out.")
    ] = None,
    values: Annotated[
        str | None, typer.Option(help="selective_dpo: column or meta.NAME with a number for each row; lowest are kept.")
    ] = None,
    show_help: Annotated[bool, typer.Option("--help", help="Show this message and exit.", is_eager=True)] = False,
) -> None:
    """Change feedback as a paper proposes, and say what was done and left out.

    Example: pluralign recipe ra_dpo rated.jsonl asked.parquet --aspect overall

    Options of the recipe are written --name value; pluralign recipe NAME --help shows them.
    """
    from pluralign.feedback import recipes

    if show_help or name is None:
        print(context.get_help())
        if name is not None:
            print(f"\n{name}{inspect.signature(_known(recipes, name))}\n\n{inspect.getdoc(_known(recipes, name))}")
        return
    function = _known(recipes, name)
    if source is None or out is None:
        raise OptionError(f"say what {name} reads and where it writes: pluralign recipe {name} SOURCE OUT")
    from rich.console import Console

    from pluralign.feedback import read

    console = Console(stderr=True)
    options = extra_options(context.args)
    known = inspect.signature(function).parameters
    if unknown := set(options) - set(known):
        raise OptionError(f"{name} has no option {', '.join(sorted(unknown))}; it has {', '.join(list(known)[1:])}")
    feedback = read(source)
    console.print(str(feedback.report), markup=False, highlight=False)
    positional: list[Any] = [feedback]
    if embed is not None:
        options |= _embedding(name, known, embed)
    if name == "selective_dpo":
        positional.append(_numbers(feedback, values))
    made = function(*positional, **options)
    for number, part in enumerate(made if isinstance(made, list) else [made], start=1):
        path = out.with_name(f"{number}-{out.name}") if isinstance(made, list) else out
        part.write(path)
        told = {key: value for key, value in part.history[-1].items() if key not in ("recipe", "options")}
        console.print(f"{name}: {len(part):,} rows to {path}; {told}", markup=False, highlight=False)


def _known(recipes: Any, name: str) -> Any:
    if name not in OFFERED:
        raise OptionError(f"there is no recipe '{name}'; there are {', '.join(OFFERED)}")
    return getattr(recipes, name)


def _embedding(name: str, known: Any, model: str) -> dict[str, Any]:
    from pluralign.policy.embed import embedder

    if "embed" in known:
        return {"embed": embedder(model)}
    if "embeds" in known:
        return {"embeds": [embedder(model)]}
    raise OptionError(f"{name} compares no texts; leave --embed out")


def _numbers(feedback: Any, values: str | None) -> Any:
    import numpy as np

    if values is None:
        raise OptionError(
            "selective_dpo keeps rows of low values: name their column with --values, meta.difficulty say"
        )
    found = []
    for j in feedback:
        value = j.meta.get(values[5:]) if values.startswith("meta.") else getattr(j, values, None)
        found.append(float(value) if isinstance(value, (int, float)) else np.nan)
    if not np.isfinite(found).any():
        raise OptionError(f"no row has a number in '{values}'; look at the rows' columns and meta for its name")
    return np.array(found)
