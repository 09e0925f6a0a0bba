"""What `align` is given: options from three places in one mapping, feedback in two parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from pluralign.errors import FeedbackError, OptionError
from pluralign.feedback import SCHEMA, Feedback, read
from pluralign.train.options import AlignOptions, read_config
from pluralign.train.run import Run


def given_options(
    run: Run,
    data: Any,
    model: str | None,
    objective: str | None,
    eval_data: Any,
    config: str | Path | Mapping[str, Any] | None,
    resume: bool,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """All options in one mapping: those of the run to resume, then the config's, then the ones given by name."""
    given: dict[str, Any] = {}
    if resume:
        given |= Run.open(run.path).config["options"]
    if config is not None:
        given |= dict(config) if isinstance(config, Mapping) else read_config(config)
    named = {"model": model, "objective": objective, "data": _name_of(data), "eval_data": _name_of(eval_data)}
    given |= {name: value for name, value in named.items() if value is not None} | dict(options)
    if "model" not in given:
        raise OptionError("no model given; name a folder, a hub model, or lab:tiny")
    return given


def _name_of(source: Any) -> Any:
    """How a source is written in the run's config; one that lives in memory has no name."""
    return str(source) if isinstance(source, (str, Path)) else source if isinstance(source, (int, float)) else None


def given_feedback(
    data: Any, eval_data: Any, settings: AlignOptions, console: Console
) -> tuple[Feedback, Feedback | None, dict[str, Any]]:
    """What to train on, what to hold out, and where both are from.

    Raises `FeedbackError` where nothing is left, or nothing can be held out.
    """
    if data is None:
        raise OptionError("no feedback given; name a file, folder or hub data set")
    whole = read(data, settings.format, settings.columns)
    if whole.report is not None:
        console.print(str(whole.report), markup=False, highlight=False)
    if not len(whole):
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in whole.report.dropped.items()) if whole.report else ""
        raise FeedbackError(f"no row of the feedback can be used{f' ({reasons})' if reasons else ''}; nothing to learn")
    whole = _without(whole, settings.ignore)
    provenance = {"report": whole.report and whole.report.as_dict(), "fingerprint": whole.fingerprint}
    share = settings.eval_data if eval_data is None or isinstance(eval_data, (str, Path, int, float)) else eval_data
    if isinstance(share, (int, float)):
        provenance["split_by"] = settings.split_by
        if share == 0:
            return whole, None, provenance
        try:
            train, held_out = whole.split(float(share), by=settings.split_by, seed=settings.seed)
        except FeedbackError as error:
            raise FeedbackError(f"no rows can be held out: {error}; --eval-data 0 holds out none") from None
        return train, held_out, provenance
    held_out = _without(read(share, settings.format, settings.columns), settings.ignore)
    provenance |= {"eval_fingerprint": held_out.fingerprint, "split_by": "given"}
    return whole, held_out, provenance


def _without(feedback: Feedback, names: list[str]) -> Feedback:
    for name in names:
        if name not in SCHEMA.names:
            raise OptionError(f"--ignore {name}: the record has no such column; it has {', '.join(SCHEMA.names)}")
    return feedback.without(*names) if names else feedback
