"""`evaluate`: what a run learnt, measured on held-out feedback."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pluralign.errors import FeedbackError, OptionError
from pluralign.evaluate.figures import Array, Clusters, calibration, histogram, mean, preferred, share
from pluralign.feedback import Judgement, read
from pluralign.feedback.convert import prompt_key
from pluralign.feedback.record import Response, plain
from pluralign.feedback.storage import whole_file
from pluralign.progress import bar
from pluralign.train.data import sides
from pluralign.train.run import Run

SMALL = 30
"""A slice with fewer rows than this is marked: its interval is wide and its value says little."""


@dataclass(frozen=True)
class Evaluation:
    """The figures of one evaluation, as they stand in the run's evaluation/NAME.json."""

    path: Path
    figures: dict[str, Any]

    def __str__(self) -> str:
        """The lines that the command line prints."""
        lines = [
            f"{self.figures['n']:,} held-out pairs, {self.figures['clusters']:,} {self.figures['cluster_by']} clusters"
        ]
        for name, f in self.figures["accuracy"].items():
            lines.append(f"accuracy, {name}: {f['value']:.3f} [{f['low']:.3f}, {f['high']:.3f}]")
        for name, f in self.figures["difference"].items():
            lines.append(f"{name}: {f['value']:+.3f} [{f['low']:+.3f}, {f['high']:+.3f}]")
        drawn = self.figures.get("generations")
        if drawn:
            for name in ("win_rate", "kl"):
                if name in drawn:
                    f = drawn[name]
                    lines.append(f"{name} of samples: {f['value']:.3f} [{f['low']:.3f}, {f['high']:.3f}]")
        return "\n".join(lines)


def evaluate(
    run: Run | str | Path,
    data: Any = None,
    *,
    name: str = "heldout",
    scorer: Callable[[str, str], float] | None = None,
    cluster: str | Callable[[Judgement], Any] = "prompt",
    slices: Sequence[str] = (),
    samples: int = 64,
    max_new_tokens: int = 128,
    seed: int = 0,
) -> Evaluation:
    """Measure a finished run on held-out pairs and write the result into its folder.

    data: anything `pluralign.read` takes; the run's own held-out rows by default. scorer: (prompt, response) ->
    number, for the win rate of samples against the reference's. cluster: what rows share when they are not
    independent ("prompt", "annotator", a column, "meta.NAME" or a function); intervals treat clusters as the units.
    slices: columns or "meta.NAME" to break accuracy down by, besides annotator and length. samples: prompts to draw
    responses to; 0 for none. Raises `OptionError` for an unfinished run, `FeedbackError` where there are no pairs.
    """
    from pluralign.evaluate.generation import compare_samples
    from pluralign.evaluate.scoring import score_pairs

    run = run if isinstance(run, Run) else Run.open(run)
    feedback = run.heldout() if data is None else read(data)
    kinds = feedback.kinds
    if not kinds["pairs"]:
        found = ", ".join(f"{n:,} {kind}" for kind, n in kinds.items() if n) or "no rows"
        raise FeedbackError(
            f"evaluate compares the two responses of pairs, and this feedback has {found}; give it pairs"
        )
    model, tokenizer = run.load_model()
    reference = run.load_reference()
    with bar("scoring held-out pairs", len(feedback)) as step:
        scores = score_pairs(run, feedback, model, reference, tokenizer, progress=step)
    everything = list(feedback)
    rows = [everything[int(i)] for i in scores.index]
    clusters = _codes([_value(j, cluster) for j in rows])
    reward = scores.reward[:, 0] - scores.reward[:, 1]
    rankings = _rankings(scores, rows)
    drift = scores.logp - scores.ref_logp
    figures: dict[str, Any] = {
        "name": name,
        "n": len(rows),
        "clusters": len(np.unique(clusters)),
        "cluster_by": cluster if isinstance(cluster, str) else getattr(cluster, "__name__", "function"),
        "data": {"fingerprint": feedback.fingerprint, **scores.prepared.as_dict()},
        "accuracy": {
            title: share(preferred(margin[known]), clusters[known]).as_dict()
            for title, (margin, known) in rankings.items()
        },
        "difference": _differences(rankings, clusters, seed),
        "calibration": calibration(reward, clusters, seed=seed),
        "margins": {**histogram(reward), "mean": mean(reward, clusters, seed).as_dict()},
        "displacement": {
            "chosen": mean(drift[:, 0], clusters, seed).as_dict(),
            "rejected": mean(drift[:, 1], clusters, seed).as_dict(),
            "chosen_fell": share((drift[:, 0] < 0).astype(float), clusters).as_dict(),
        },
        "slices": _slices(rows, preferred(reward), scores.length, clusters, slices),
        "pairs": [_example(j, float(m)) for j, m in list(zip(rows, reward, strict=True))[:12]],
    }
    if samples:
        prompts = list({prompt_key(j): j.prompt for j in rows}.values())[:samples]
        with bar("sampling", None):
            figures["generations"] = compare_samples(
                model, reference, tokenizer, prompts, scorer=scorer, max_new_tokens=max_new_tokens, seed=seed
            )
    path = run.path / "evaluation" / f"{name}.json"
    with whole_file(path.with_suffix(".parquet")) as temporary:
        _table(scores).write_parquet(temporary)
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    return Evaluation(path, figures)


REWARD = "implicit reward"
LONGER = "longer wins"


def _rankings(scores: Any, rows: list[Judgement]) -> dict[str, tuple[Array, Any]]:
    """Each way to tell the preferred response: its margins [n] and where it has an opinion at all [n]."""
    all_rows = np.ones(len(rows), dtype=bool)

    def gap(values: Array) -> Array:
        return np.asarray(values[:, 0] - values[:, 1])

    characters = np.array([[float(len(plain(r.messages))) for r in _ordered(j)] for j in rows])
    found = {
        REWARD: (gap(scores.reward), all_rows),
        "policy log-prob": (gap(scores.logp), all_rows),
        "policy mean log-prob": (gap(scores.logp / scores.length), all_rows),
        "reference log-prob": (gap(scores.ref_logp), all_rows),
        "reference mean log-prob": (gap(scores.ref_logp / scores.length), all_rows),
        LONGER: (gap(characters), all_rows),
        "shorter wins": (-gap(characters), all_rows),
    }
    shown = np.array([_first_shown(j) for j in rows])
    if (shown != 0).any():
        found["first shown wins"] = (shown.astype(float), shown != 0)
    return found


def _differences(rankings: dict[str, tuple[Array, Any]], clusters: Clusters, seed: int) -> dict[str, Any]:
    """Accuracy of the implicit reward minus that of others, on the same rows."""
    ours = preferred(rankings[REWARD][0])
    others = ("reference log-prob", "reference mean log-prob", LONGER)
    return {
        f"{REWARD} - {other}": mean(ours - preferred(rankings[other][0]), clusters, seed).as_dict() for other in others
    }


def _ordered(j: Judgement) -> tuple[Response, Response]:
    """The two responses, the preferred one first: in the order in which they were scored."""
    first, _, _ = sides(j)
    return j.responses[first], j.responses[1 - first]


def _first_shown(j: Judgement) -> int:
    """+1 where the preferred response was shown first, -1 where last, 0 where that is not known."""
    if j.positions is None or j.positions[0] == j.positions[1]:
        return 0
    first, _, _ = sides(j)
    return 1 if j.positions[first] < j.positions[1 - first] else -1


def _value(j: Judgement, by: str | Callable[[Judgement], Any]) -> Any:
    if callable(by):
        return by(j)
    if by == "prompt":
        return prompt_key(j)
    if by.startswith("meta."):
        return j.meta.get(by[5:])
    if not hasattr(j, by):
        raise OptionError(f"rows have no '{by}'; use prompt, annotator, a column of the record or meta.NAME")
    return getattr(j, by)


def _codes(values: list[Any]) -> Clusters:
    """Whole numbers for cluster names; a row without a name is a cluster of its own."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(f"={v}" if v is not None else f"#{i}", len(known)) for i, v in enumerate(values)])


def _slices(
    rows: list[Judgement], right: Array, length: Array, clusters: Clusters, names: Sequence[str]
) -> list[dict[str, Any]]:
    longest = length.max(1)
    edges = np.quantile(longest, [0.25, 0.5, 0.75])
    bands = np.searchsorted(edges, longest, side="left")
    by: dict[str, list[Any]] = {"length": [f"quarter {b + 1} of 4" for b in bands]}
    for name in ("criterion", "context", "annotator", *names):
        values = [_value(j, name) for j in rows]
        # Three hundred annotators with two rows each tell nothing row by row.
        if 1 < len({v for v in values if v is not None}) <= 50:
            by[name] = values
    found = []
    for name, values in by.items():
        places: dict[str, list[int]] = defaultdict(list)
        for i, value in enumerate(values):
            if value is not None:
                places[str(value)].append(i)
        for value, inside in sorted(places.items()):
            figure = share(right[inside], clusters[inside])
            found.append({"by": name, "value": value, "small": len(inside) < SMALL, "accuracy": figure.as_dict()})
    return found


def _example(j: Judgement, margin: float) -> dict[str, Any]:
    chosen, rejected = _ordered(j)
    return {
        "prompt": plain(j.prompt),
        "chosen": plain(chosen.messages),
        "rejected": plain(rejected.messages),
        "margin": margin,
    }


def _table(scores: Any) -> pl.DataFrame:
    columns = {"row": scores.index}
    for name in ("reward", "logp", "ref_logp", "length"):
        values = getattr(scores, name)
        columns |= {f"{name}_chosen": values[:, 0], f"{name}_rejected": values[:, 1]}
    return pl.DataFrame(columns)
