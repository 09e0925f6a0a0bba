"""Going on with a run: only as the run that it was, from the last checkpoint that is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pluralign.errors import OptionError
from pluralign.train.options import resolve
from pluralign.train.run import Run

NAMES_ALONE = {"data", "format", "columns", "reference_cache"}
"""Options that say where something is; what was found there is compared by its fingerprint."""


def check_same(run: Run, given: Mapping[str, Any], provenance: Mapping[str, Any], processes: int) -> None:
    """Refuse to go on with other options, other feedback or another number of processes than the run began with.

    What came before was computed with those, and the rest would be neither that run nor a new one. Raises
    `OptionError`.
    """
    before, now = _flat(run.config["options"]), _flat(given)
    for name in sorted({*before, *now} - NAMES_ALONE):
        was, is_ = (_shown(values, name) for values in (before, now))
        if was != is_:
            raise OptionError(
                f"{run.path} cannot go on: {name} was {was} and is now {is_}; leave it as it was, or begin a new run"
            )
    for name, what in (("fingerprint", "the feedback"), ("eval_fingerprint", "the held-out feedback")):
        if run.data.get(name) != provenance.get(name):
            raise OptionError(
                f"{run.path} cannot go on: {what} is not what the run began with; give it as it was, or begin a new run"
            )
    if run.config["processes"] != processes:
        raise OptionError(
            f"{run.path} cannot go on: it began with {run.config['processes']} processes and there are now "
            f"{processes}, so batches would change size; launch as many, or begin a new run"
        )


def newest_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that was written to its end: its state file comes last."""
    found = [p for p in folder.glob("checkpoint-*") if _is_json(p / "trainer_state.json")]
    return max(found, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the defaults of ours and the objective's, so that a default may be written out."""
    settings, _, its, training = resolve(options)
    return {**settings.model_dump(), **its, **training}


def _shown(options: Mapping[str, Any], name: str) -> str:
    return json.dumps(options[name], default=str) if name in options else "not given"


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return True
