"""Two groups of people, a model for each, and a compromise between them.

    python -m benchmarks.steer

Simulated people of two tastes judge pairs of answers; nobody says who is of which. `fit` finds the groups, its rewards
steer `align` in turn towards each group and towards a MaxMin compromise, and `evaluate` asks the known tastes what they
think of the result. Some minutes on two cores. Rewrites docs/steer.md and docs/steer.png from what stays in
benchmarks/results/steer.json; runs that are there already are not run again.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import pluralign
from benchmarks.steer_page import draw, page
from pluralign.evaluate.figures import Array, preferred, share
from pluralign.feedback import Feedback
from pluralign.feedback.recipes import name_groups, relabel, weigh_people, words
from pluralign.feedback.record import plain
from pluralign.feedback.storage import whole_file
from pluralign.lab import people
from pluralign.models import PreferenceModel
from pluralign.models.decisions import MaxMin, maxmin
from pluralign.train import Run

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "benchmarks" / "results" / "steer.json"
TRUTH = {"brief": people.BRIEF.utility, "warm and full": people.WARM_AND_FULL.utility}
PEOPLE, SHARE, JUDGED = 20, 0.7, 2400
BETA = 0.5
"""The price of leaving the reference, for DPO and for the compromise alike."""
TRAINING: dict[str, Any] = {
    "per_device_train_batch_size": 16,
    "num_train_epochs": 3,
    "learning_rate": 5e-4,
    "beta": BETA,
    "logging_steps": 20,
    "pretrain_steps": 200,
    "save_strategy": "no",
}


def fitted(train: Feedback) -> PreferenceModel:
    """Whose preferences the feedback holds, from counts of words."""
    return pluralign.fit(train, "low-rank", range(1, 4), words, weight_decay=0.05, restarts=3)


def group_weights(model: PreferenceModel) -> Array:
    """[K, K]: the mean weights of the people whom each prototype describes best."""
    best = model.weights_.argmax(1)
    return np.array([model.weights_[best == k].mean(0) for k in range(model.scorer.groups)])


def compromise(model: PreferenceModel, train: Feedback, weights: Array) -> MaxMin:
    """The MaxMin policy over the answers at hand, rewards in standard deviations of each group."""
    answers: dict[str, list[str]] = defaultdict(list)
    for j in train:
        answers[plain(j.prompt)] += [plain(r.messages) for r in j.responses]
    rewards = [model.export(w) for w in weights]
    most = max(map(len, answers.values()))
    values, there = np.zeros((len(answers), most, len(weights))), np.zeros((len(answers), most))
    for i, (prompt, texts) in enumerate(answers.items()):
        values[i, : len(texts)] = np.stack([reward(prompt, texts) for reward in rewards], 1)
        there[i, : len(texts)] = 1
    every = values[there > 0]
    return maxmin((values - every.mean(0)) / every.std(0), there, beta=BETA)


def tasks(model: PreferenceModel, train: Feedback) -> tuple[dict[str, Feedback], dict[str, Any]]:
    """What each run learns from, and what is known of the groups."""
    weights, names = group_weights(model), group_names(model, train)
    found = {"everybody as they voted": train}
    for k, name in enumerate(names):
        found[f"{name}: labels"] = relabel(train, model.export(weights[k]), name=name)
    for k, name in enumerate(names):
        found[f"{name}: weights"] = weigh_people(train, dict(zip(model.people_, model.weights_[:, k], strict=True)))
    middle = compromise(model, train, weights)
    spread = np.std([_both(model, w, train) for w in weights], axis=(1, 2))
    # One reward for the run: that of the compromise's weights, each group in its own standard deviations.
    rewards, parts = [model.export(w) for w in weights], middle.weights / spread

    def reward(prompt: str, responses: Any) -> Array:
        return np.asarray(sum(w * r(prompt, responses) for w, r in zip(parts, rewards, strict=True)))

    found["compromise: labels"] = relabel(train, reward, name="compromise")
    truth = {j.annotator: (j.annotator_attributes or {})["taste"] for j in train}
    best = model.weights_.argmax(1)
    right = np.array([names[k] == truth[name] for k, name in zip(best, model.people_, strict=True)])
    about = {
        "plurality": vars(model.plurality_),
        "people": [int((best == k).sum()) for k in range(len(names))],
        "names": names,
        "found": share(right.astype(float), np.arange(len(right))).as_dict(),
        "weights": middle.weights.tolist(),
        "expected": middle.rewards.tolist(),
        "gap": middle.gap,
    }
    return found, about


def _both(model: PreferenceModel, weights: Array, rows: Feedback) -> Array:
    """[n, 2] rewards of both answers of every pair."""
    reward = model.export(weights)
    return np.array([reward(plain(j.prompt), [plain(r.messages) for r in j.responses]) for j in rows])


def group_names(model: PreferenceModel, rows: Feedback) -> list[str]:
    """The known taste of most people of each group: to name it on the page, after all is fitted."""
    truth = {j.annotator: (j.annotator_attributes or {})["taste"] for j in rows}
    best = model.weights_.argmax(1)
    members = [
        [truth[name] for name, b in zip(model.people_, best, strict=True) if b == k] for k in range(best.max() + 1)
    ]
    return [max(set(each), key=each.count) for each in members]


def known(model: PreferenceModel, held_out: Feedback, weights: Array, names: list[str]) -> dict[str, Any]:
    """How often each group's reward orders unseen pairs as the known taste does."""
    found = {}
    prompts = np.array([plain(j.prompt) for j in held_out])
    for name, w in zip(names, weights, strict=True):
        ours = _both(model, w, held_out)
        gap = np.array([[TRUTH[name](plain(j.prompt), plain(r.messages)) for r in j.responses] for j in held_out])
        told = gap[:, 0] != gap[:, 1]
        right = preferred((ours[:, 0] - ours[:, 1])[told] * np.sign(gap[:, 0] - gap[:, 1])[told])
        found[name] = share(right, prompts[told]).as_dict()
    return found


def measured(run: Run, held_out: Feedback) -> dict[str, Any]:
    """Wins of samples over the reference's to each known taste, and accuracy on each found group's own votes."""
    wins = {}
    for name, truth in TRUTH.items():
        figures = pluralign.evaluate(
            run, held_out, name=name, scorer=truth, slices=["meta.group"], samples=120, max_new_tokens=80
        ).figures
        wins[name] = figures["generations"]["win_rate"]
    slices = {s["value"]: s["accuracy"]["implicit reward"] for s in figures["slices"] if s["by"] == "meta.group"}
    return {"wins": wins, "accuracy": slices, "kl": figures["generations"]["kl"]}


def main() -> None:
    """Fit, align, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("steer"), help="folder of the runs")
    out = parser.parse_args().out
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {"runs": {}}
    feedback = people.simulate(JUDGED, people=PEOPLE, share=SHARE, prompts=480)
    train, held_out = feedback.split(0.25, by="prompt")
    model = fitted(train)
    data, about = tasks(model, train)
    about["rewards"] = known(model, held_out, group_weights(model), about["names"])
    kept |= {"about": about, "pairs": [len(train), len(held_out)]}
    best = model.weights_.argmax(1)
    told = name_groups(held_out, {p: about["names"][k] for p, k in zip(model.people_, best, strict=True)})
    first = None
    for name, rows in data.items():
        folder = out / name.replace(": ", "-").replace(" ", "-")
        if name not in kept["runs"]:
            run = Run(folder)
            if not (folder / "config.json").exists() or not run.finished:
                # The first run makes the model, all others start from the very same.
                start = "lab:tiny" if first is None else str(first / "reference")
                run = pluralign.align(rows, start, "dpo", output_dir=folder, eval_data=told, **TRAINING)
            kept["runs"][name] = measured(run, told)
            with whole_file(KEPT) as temporary:
                temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        first = first or folder
    (ROOT / "docs" / "steer.md").write_text(page(kept), encoding="utf-8")
    draw(kept, ROOT / "docs" / "steer.png")


if __name__ == "__main__":
    main()
