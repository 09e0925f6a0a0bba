"""`evaluate`: what a run learnt, measured on held-out feedback."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pluralign.errors import FeedbackError, OptionError
from pluralign.evaluate.figures import Array, Clusters, chance, spelled
from pluralign.evaluate.measures import LAYOUT, REWARD, Pairs, idealised_accuracy
from pluralign.evaluate.slices import sliced
from pluralign.evaluate.thumbs import Thumbs
from pluralign.feedback import Feedback, Judgement, read
from pluralign.feedback.convert import prompt_key
from pluralign.feedback.record import Response, plain
from pluralign.feedback.storage import whole_file
from pluralign.progress import bar
from pluralign.train.data import sides
from pluralign.train.run import Run

if TYPE_CHECKING:
    from pluralign.evaluate.scoring import Scores

SHOWN = 12
"""Pairs kept as examples, at most two a prompt."""


@dataclass(frozen=True)
class Evaluation:
    """The figures of one evaluation, as they stand in the run's evaluation/NAME.json."""

    path: Path
    figures: dict[str, Any]

    def __str__(self) -> str:
        """The lines that the command line prints."""
        f = self.figures
        held_out = f"{f['n']:,} held-out {f['kind']}"
        lines = [f"{held_out}, {f['clusters']:,} {f['cluster_by']} clusters"]
        rate = "accuracy" if f["kind"] == "pairs" else "AUC"
        lines += [f"{rate}, {name}: {spelled(figure)}" for name, figure in f["accuracy"].items()]
        gaps = {name: figure for name, figure in f["difference"].items() if name.startswith((REWARD, "reward"))}
        lines += [f"{name}: {spelled(figure, sign='+')}, {chance(figure['p'])}" for name, figure in gaps.items()]
        for column, part in f.get("worst", {}).items():
            lines.append(f"lowest by {column}, {part['part']}: {spelled(part)}")
        for told, side in (("longer", "the longer of two"), ("first", "the one shown first")):
            if said := f.get(told):
                lines.append(f"prefers {side}: reward {spelled(said['reward'])}, people {spelled(said['people'])}")
        if known := f.get("calibration"):
            t = known.get("temperature")
            lines.append(f"calibration error: {spelled(known['ece'])}" + (f", temperature {t:.2f}" if t else ""))
        if f.get("rewardbench"):
            table = f["rewardbench"]["table"]
            lines += [
                f"RewardBench, {r['name']}: {spelled(r | {'value': r['accuracy']})}"
                for r in table
                if r["kind"] != "subset"
            ]
        if f.get("ceiling"):
            lines.append(f"agreement of a person with the majority of the others: {spelled(f['ceiling']['others'])}")
        drawn = f.get("generations") or {}
        lines += [f"{name} of samples: {spelled(drawn[name])}" for name in ("win_rate", "kl") if name in drawn]
        return "\n".join(lines)


def evaluate(
    run: Any,
    data: Any = None,
    *,
    name: str | None = None,
    scorer: Callable[[str, str], float] | None = None,
    cluster: str | Callable[[Judgement], Any] = "prompt",
    slices: Sequence[str] = (),
    samples: int = 64,
    max_new_tokens: int = 128,
    seed: int = 0,
) -> Evaluation:
    """Measure a finished run, or a reward or preference model, on held-out pairs or thumbs, and write the result there.

    run: a `Run` or its folder. One that trained a reward is measured by `pluralign.evaluate.rewards.evaluate_reward`,
    as are, on data that must be given, a model of `pluralign.models` or the folder it was saved in, a folder with a
    classifier of `transformers` that has one label, and any reward (prompt, responses [n]) -> [n].

    Thumbs have no pairs to rank; there accuracy is the AUC, the chance that a good response scores above a bad one.

    data: anything `pluralign.read` takes; the run's own held-out rows by default. name: of the evaluation within the
    run; by default "heldout" for the run's own rows, the file's name without its ending for others, else "data".
    scorer: (prompt, response) -> number, for the win rate of samples against the reference's. cluster: what rows share
    when they are not independent ("prompt", "annotator", a column, "meta.NAME" or a function); intervals treat
    clusters as the units. slices: columns or "meta.NAME" to break every figure down by, besides prompt, criterion,
    context, source, annotator and length. samples: prompts to draw responses to; 0 for none. Raises `OptionError` for
    an unfinished run or a column that no row has, `FeedbackError` without pairs and without thumbs of both kinds.
    """
    from pluralign.evaluate.generation import compare_samples
    from pluralign.evaluate.scoring import score_rows

    name = _name(data) if name is None else name
    model = _reward(run)
    if model is not None:
        from pluralign.evaluate.rewards import evaluate_reward

        into = run.path if isinstance(run, Run) else Path(run) if isinstance(run, str | Path) else None
        if scorer is not None:
            raise OptionError("a reward writes no samples that a scorer could judge; leave the scorer out")
        if data is None:
            if into is None or not (into / "data.json").is_file():
                raise FeedbackError("a fitted model holds no rows out; give feedback that it was not fitted to")
            data = Run(into).heldout()
        return evaluate_reward(model, data, name=name, out=into, cluster=cluster, slices=slices, seed=seed)
    run = run if isinstance(run, Run) else Run.open(run)
    feedback = run.heldout() if data is None else read(data)
    kind = _kind(feedback)
    everything = list(feedback)
    for column in (cluster, *slices):
        _check(everything, column)
    policy, tokenizer = run.load_model()
    reference = run.load_reference()
    with bar(f"scoring held-out {kind}", len(feedback)) as step:
        scores = score_rows(run, feedback, policy, reference, tokenizer, thumbs=kind == "thumbs", progress=step)
    rows = [everything[int(i)] for i in scores.index]
    clusters = _codes([_value(j, cluster) for j in rows])
    scored = _pairs(scores, rows, clusters) if kind == "pairs" else _thumbs(scores, rows, clusters)
    if not scored.mixed:
        raise FeedbackError("all usable thumbs point the same way, so there is nothing to tell apart; give both kinds")
    cluster_by = cluster if isinstance(cluster, str) else getattr(cluster, "__name__", "function")
    columns = ("prompt", "criterion", "context", "source", "annotator", *slices)
    values = {c: [_value(j, c) for j in rows] for c in columns}
    # Drawn in an order of their own: the first prompts of a file are often of one kind.
    prompts = {prompt_key(rows[i]): rows[i].prompt for i in np.random.default_rng(seed).permutation(len(rows))}
    figures: dict[str, Any] = {
        "layout": LAYOUT,
        "name": name,
        "kind": kind,
        "n": len(scored),
        "clusters": len(np.unique(clusters)),
        "cluster_by": cluster_by,
        "data": {"fingerprint": feedback.fingerprint, **scores.prepared.as_dict()},
        **scored.measure(seed),
        **sliced(scored, values, cluster_by, seed),
    }
    if isinstance(scored, Pairs):
        figures["idealised"] = idealised_accuracy(scored, scores.beta, scores.stated, seed) if scores.beta else {}
        figures["pairs"] = _examples(rows, scored.reward[:, 0] - scored.reward[:, 1], list(prompts))
    else:
        figures["good"] = int(scored.good.sum())
    if samples:
        with bar("sampling", None):
            figures["generations"] = compare_samples(
                policy,
                reference,
                tokenizer,
                list(prompts.values())[:samples],
                columns={c: _agreed(rows, v, list(prompts)[:samples]) for c, v in values.items() if c != "prompt"},
                scorer=scorer,
                max_new_tokens=max_new_tokens,
                seed=seed,
            )
    path = run.path / "evaluation" / f"{name}.json"
    with whole_file(path.with_suffix(".parquet")) as temporary:
        _table(scores.index, scored).write_parquet(temporary)
    with whole_file(path) as temporary:
        text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return Evaluation(path, figures)


def _reward(run: Any) -> Any:
    """The model or reward that this is, None where it is a run of a policy."""
    if not isinstance(run, str | Path | Run):
        return run if hasattr(run, "margins") or callable(run) else None
    at = run.path if isinstance(run, Run) else Path(run)
    if (at / "model.json").is_file():
        from pluralign.models import load

        return load(at)
    is_run, about = (at / "data.json").is_file(), at / "config.json"
    if (is_run and Run(at).is_reward) or (not is_run and about.is_file() and "ForSequence" in about.read_text()):
        from pluralign.train.text_reward import TextReward

        return TextReward.load(at)
    return None


def _name(data: Any) -> str:
    if data is None:
        return "heldout"
    # Files of one name in two folders are told apart by naming them.
    return Path(data).name.partition(".")[0] or "data" if isinstance(data, str | Path) else "data"


def _kind(feedback: Feedback) -> str:
    """Pairs where there are any, else thumbs of both kinds."""
    kinds = feedback.kinds
    for kind in ("pairs", "thumbs"):
        if kinds[kind]:
            return kind
    found = ", ".join(f"{n:,} {kind}" for kind, n in kinds.items() if n) or "no rows"
    raise FeedbackError(
        f"evaluate takes pairs, or responses with a thumb, and this feedback has {found}; give it pairs"
    )


def _thumbs(scores: Scores, rows: list[Judgement], clusters: Clusters) -> Thumbs:
    characters = np.array([float(len(plain(j.responses[0].messages))) for j in rows])
    return Thumbs(
        scores.reward[:, 0],
        scores.logp[:, 0],
        scores.ref_logp[:, 0],
        scores.length[:, 0],
        characters,
        scores.sign[:, 0] > 0,
        clusters,
    )


def _pairs(scores: Scores, rows: list[Judgement], clusters: Clusters) -> Pairs:
    return Pairs(
        scores.reward,
        scores.logp,
        scores.ref_logp,
        scores.length,
        np.array([[float(len(plain(r.messages))) for r in _ordered(j)] for j in rows]),
        np.array([float(_first_shown(j)) for j in rows]),
        clusters,
    )


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
        # Rows without a prompt share none.
        return prompt_key(j) or None
    if by.startswith("meta."):
        return j.meta.get(by[5:])
    if not hasattr(j, by):
        raise OptionError(f"rows have no '{by}'; use prompt, annotator, a column of the record or meta.NAME")
    return getattr(j, by)


def _agreed(rows: Sequence[Judgement], values: Sequence[Any], prompts: Sequence[str]) -> list[Any]:
    """The value [n] that all rows of each prompt [n] have; None where they differ or have none."""
    found: dict[str, set[Any]] = defaultdict(set)
    for j, value in zip(rows, values, strict=True):
        found[prompt_key(j)].add(None if value is None else str(value))
    return [next(iter(found[key])) if len(found[key]) == 1 else None for key in prompts]


def _check(rows: Sequence[Judgement], by: str | Callable[[Judgement], Any]) -> None:
    """A column that is empty throughout is a slip of the pen: as clusters it would call all rows independent."""
    if by != "prompt" and all(_value(j, by) is None for j in rows):
        raise OptionError(f"no row has a value for '{by}'; look at the rows' columns and meta for its name")


def _codes(values: list[Any]) -> Clusters:
    """Whole numbers for cluster names; a row without a name is a cluster of its own."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(f"={v}" if v is not None else f"#{i}", len(known)) for i, v in enumerate(values)])


def _examples(rows: list[Judgement], margins: Array, order: list[str]) -> list[dict[str, Any]]:
    """Some pairs with their margins [N], those of the first prompts in this order first."""
    place = {key: i for i, key in enumerate(order)}
    seen: Counter[str] = Counter()
    found: list[dict[str, Any]] = []
    for i in sorted(range(len(rows)), key=lambda i: place[prompt_key(rows[i])]):
        key = prompt_key(rows[i])
        if len(found) == SHOWN:
            break
        if seen[key] == 2:
            continue
        seen[key] += 1
        chosen, rejected = (plain(response.messages) for response in _ordered(rows[i]))
        said = {"prompt": plain(rows[i].prompt), "chosen": chosen, "rejected": rejected}
        found.append(said | {"margin": float(margins[i])})
    return found


def _table(index: Any, scored: Pairs | Thumbs) -> pl.DataFrame:
    columns: dict[str, Any] = {"row": index, "cluster": scored.clusters}
    for name in ("reward", "logp", "ref_logp", "length", "characters"):
        values = getattr(scored, name)
        if isinstance(scored, Pairs):
            columns |= {f"{name}_chosen": values[:, 0], f"{name}_rejected": values[:, 1]}
        else:
            columns[name] = values
    told = {"first_shown": scored.shown} if isinstance(scored, Pairs) else {"good": scored.good}
    return pl.DataFrame({**columns, **told})
