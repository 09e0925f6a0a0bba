"""`pluralign align`: feedback and a language model in, an aligned model out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pluralign.cli._options import columns_mapping
from pluralign.errors import OptionError

SETTINGS = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
}


def align(
    context: typer.Context,
    data: Annotated[str | None, typer.Argument(help="Feedback: a file, folder or hub name.")] = None,
    model: Annotated[str | None, typer.Option(help="A folder, a hub name, or lab:tiny.")] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="A name from the table below, or a sum such as '0.8*dpo + 0.2*bco + sft'; dpo if left out."),
    ] = None,
    output_dir: Annotated[Path | None, typer.Option("--output-dir", "-o", help="Where the run goes.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of options; those given here overrule it.")] = None,
    curriculum: Annotated[
        int | None,
        typer.Option(help="Train in so many rounds, from responses far apart to close ones (curry_dpo).", min=1),
    ] = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online",
            help="DATA are prompts: sample, ask a judge, learn, in rounds (--learner, --judge module:name, --rounds).",
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    show_help: Annotated[bool, typer.Option("--help", help="Show this message and exit.", is_eager=True)] = False,
) -> None:
    """Train a language model on feedback.

    Example: pluralign align pairs.jsonl --model Qwen/Qwen3-0.6B --objective simpo --beta 2.5 --lora 16 -o runs/simpo

    Every option of the objective, of align itself (--max-length, --eval-data, --split-by, --lora, ...) and of the
    transformers trainer (--learning-rate, --max-steps, ...) is written the same way.

    Example: pluralign align prompts.jsonl --online --model Qwen/Qwen3-0.6B --learner inpo --judge mine:judge -o runs/a

    --online --help lists the learners and the options of the loop.
    """
    if show_help:
        _print_online_help(context, objective) if online else _print_help(context, objective)
        return
    words = context.args
    if data is not None and data.startswith("--"):
        # Without DATA the first option that typer does not know stands in its place.
        words, data = [data, *words], None
    options = extra_options(words)
    if isinstance(options.get("columns"), str):
        options["columns"] = columns_mapping(options["columns"])
    if output_dir is None:
        raise OptionError("say where the run goes with --output-dir")
    options |= {"output_dir": output_dir, "config": config, "resume": resume}
    if online:
        _online(data, model, objective, options)
        return
    if data is None and config is None and not resume:
        raise OptionError("no feedback given; see pluralign align --help")
    if curriculum is not None:
        _in_rounds(curriculum, data, model, objective, options)
        return
    from pluralign.train import align as run_align

    run_align(data, model, objective, **options)


def _online(data: str | None, model: str | None, objective: str | None, options: dict[str, Any]) -> None:
    from pluralign.online import run

    if objective is not None and options.setdefault("learner", objective) != objective:
        raise OptionError("--objective and --learner name two learners; give one of them")
    run(data, model, **options)


def _in_rounds(
    rounds: int, data: str | None, model: str | None, objective: str | None, options: dict[str, Any]
) -> None:
    from pluralign.feedback import read
    from pluralign.feedback.recipes import curry_dpo
    from pluralign.train import align_rounds

    if data is None or model is None:
        raise OptionError("--curriculum makes its rounds from DATA and begins with --model; give both")
    feedback = read(data, options.pop("format", None), options.pop("columns", None))
    parts = curry_dpo(feedback, rounds=rounds, aspect=options.get("aspect"))
    align_rounds(parts, model, objective or "dpo", **options)


def extra_options(arguments: list[str]) -> dict[str, Any]:
    """`--name value`, `--name=value` and bare `--flag` as a mapping; values are read as YAML, so 0.1 is a number.

    >>> extra_options(["--beta", "0.1", "--split-by=meta.topic", "--bf16"])
    {'beta': 0.1, 'split_by': 'meta.topic', 'bf16': True}
    """
    import yaml

    options: dict[str, Any] = {}
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--") or word == "--":
            raise OptionError(f"'{word}' is not an option; DATA comes first, and options are written --name value")
        name, equals, value = word[2:].partition("=")
        if not equals and waiting and not waiting[0].startswith("--"):
            equals, value = "=", waiting.pop(0)
        try:
            options[name.replace("-", "_")] = yaml.safe_load(value) if equals else True
        except yaml.YAMLError:  # words such as "score: {score}!" are meant as they stand
            options[name.replace("-", "_")] = value
    # YAML reads 1e-5 as text, having no dot.
    return {name: _number(value) for name, value in options.items()}


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _print_help(context: typer.Context, objective: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from pluralign.objectives import catalogue, find
    from pluralign.train.options import AlignOptions

    print(context.get_help())
    console = Console(file=sys.stdout)
    shown = [find(objective)] if objective else list(catalogue().values())
    table = Table("objective", "equation (minimised)", "options", title="Objectives", show_lines=True)
    for item in shown:
        table.add_row(item.name, item.equation, _listed(item.options.model_fields) or "none")
    console.print(table, markup=False)
    if objective:
        console.print(shown[0].doc, markup=False, highlight=False)
    own = Table("option", "default", "meaning", title="Options of align")
    for name, field in AlignOptions.model_fields.items():
        if name not in ("model", "objective", "data"):
            default = "" if field.default is None else str(field.get_default(call_default_factory=True))
            own.add_row(f"--{name.replace('_', '-')}", default, field.description or "")
    console.print(own, markup=False)


def _print_online_help(context: typer.Context, name: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from pluralign.online import catalogue, find
    from pluralign.online.settings import OnlineOptions

    print(context.get_help())
    console = Console(file=sys.stdout)
    shown = [find(name)] if name else list(catalogue().values())
    title = "Learners (beside the objectives that align takes, by their own names)"
    table = Table("learner", "equation (minimised)", "asks for", "options", title=title, show_lines=True)
    for item in shown:
        table.add_row(item.name, item.equation, str(item.judge), _listed(item.options.model_fields) or "none")
    console.print(table, markup=False)
    own = Table("option", "default", "meaning", title="Options of the loop")
    for option, field in OnlineOptions.model_fields.items():
        default = "" if field.default is None else str(field.get_default(call_default_factory=True))
        own.add_row(f"--{option.replace('_', '-')}", default, field.description or "")
    console.print(own, markup=False)


def _listed(fields: dict[str, Any]) -> str:
    return "\n".join(f"--{name.replace('_', '-')} {field.default}{_bounds(field)}" for name, field in fields.items())


def _bounds(field: Any) -> str:
    limits = {"gt": "> ", "ge": ">= ", "lt": "< ", "le": "<= "}
    found = [
        f"{sign}{getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in limits.items()
        if hasattr(limit, name)
    ]
    return f" ({', '.join(found)})" if found else ""
