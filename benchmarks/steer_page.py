"""The page and the picture of `benchmarks.steer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data_page import axes, table
from pluralign.evaluate.figures import spelled

HOW = """\
```python
import pluralign
from pluralign.feedback.recipes import name_groups, relabel, weigh_people, words
from pluralign.lab import people

feedback = people.simulate(300, people=8, share=0.5)  # pairs, each with who judged it
train, held_out = feedback.split(0.25, by="prompt")

model = pluralign.fit(train, "low-rank", 2, words, null=0)  # whose preferences are these?
mine = model.export(0)  # the reward of the first taste; or of a person, model.export("person-03")

data = relabel(train, mine, name="taste 0")  # every pair as that taste would judge it
heavy = weigh_people(train, dict(zip(model.people_, model.weights_[:, 0])))  # or as people like that did
assert len(data) == len(heavy) == len(train)

best = model.weights_.argmax(1)
told = name_groups(held_out, dict(zip(model.people_, best)))  # evaluate(..., slices=["meta.group"])
# run = pluralign.align(data, "lab:tiny", "dpo", output_dir="runs/taste-0", eval_data=told)
# pluralign.evaluate(run, slices=["meta.group"], scorer=...)
```
"""


def draw(kept: dict[str, Any], path: Path) -> None:
    """Wins over the reference to each known taste, for every run."""
    from pluralign.rank.plots import COLOURS

    figure, panel = axes(8, 3.8)
    runs = kept["runs"]
    y = np.arange(len(runs))[::-1]
    for i, name in enumerate(next(iter(runs.values()))["wins"]):
        values, low, high = np.array([[r["wins"][name][c] for c in ("value", "low", "high")] for r in runs.values()]).T
        ends = [values - low, high - values]
        panel.errorbar(
            values,
            y + 0.12 - 0.24 * i,
            xerr=ends,
            fmt="o",
            color=COLOURS[i],
            capsize=2,
            ms=5,
            label=f"people who like it {name}",
        )
    panel.axvline(0.5, color="#999999", linewidth=0.8)
    panel.set_yticks(y, list(runs))
    panel.set_xlim(0, 1)
    panel.set_xlabel("share of answers that they prefer to the unaligned model's, 95% intervals")
    panel.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.4, 1.15), ncols=2)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    figure.savefig(path, dpi=144)


def page(kept: dict[str, Any]) -> str:
    """docs/steer.md."""
    about, runs = kept["about"], kept["runs"]
    plural, names = about["plurality"], about["names"]
    shares = " and ".join(f"{n} people" for n in about["people"])
    wins = [
        [name, *(spelled(w) for w in run["wins"].values()), f"{min(w['value'] for w in run['wins'].values()):.3f}"]
        for name, run in runs.items()
    ]
    votes = [[name, *(spelled(run["accuracy"][n]) for n in names), spelled(run["kl"], 2)] for name, run in runs.items()]
    tastes = list(next(iter(runs.values()))["wins"])
    floor = {name: min(w["value"] for w in run["wins"].values()) for name, run in runs.items()}
    best = max(floor, key=lambda name: floor[name])
    return "\n".join(
        [
            "# From what people said to a model for each of them",
            "",
            f"{kept['pairs'][0] + kept['pairs'][1]:,} pairs of answers are judged by 20 "
            "simulated people. Seven in ten like "
            "answers brief and with an example, the others warm and with every step; who is of which is not told. "
            "Everything below is learnt from who chose what.",
            "",
            "1. **`fit`** finds the tastes: a reward linear in the words, and everybody's weights on a few of them.",
            "2. **`relabel`** and **`weigh_people`** turn the same pairs towards a taste, **`maxmin`** towards a "
            "compromise: the policy whose worst-off group is best off.",
            "3. **`align`** trains one language model for each (DPO).",
            "4. **`evaluate`** asks the known tastes, on prompts that nobody has seen.",
            "",
            "![Wins over the unaligned model, to each taste](steer.png)",
            "",
            "## What `fit` found",
            "",
            f"{plural['chosen']} tastes. {plural['against']} in place of one save {plural['gain']:.3f} nats an answer "
            f"({plural['low']:.3f} to {plural['high']:.3f}) on answers held out; with names dealt anew among the "
            f"answers the gain is {min(plural['null']):.3f} to {max(plural['null']):.3f} (p = {plural['p']:.2f}). "
            f"The groups have {shares}; the share of people put with their own kind is "
            f"{spelled(about['found'], 2)}. On unseen pairs the rewards of the groups order "
            "answers as the true taste does: "
            + ", ".join(f"{name} {spelled(f)}" for name, f in about["rewards"].items())
            + ".",
            "",
            "The compromise weighs the groups "
            f"{', '.join(f'{n} {w:.2f}' for n, w in zip(names, about['weights'], strict=True))}"
            ", each reward in its own standard deviations, and expects "
            f"{about['expected'][0]:.2f} of each; by duality no "
            f"policy of that price has a floor higher by more than {max(about['gap'], 1e-9):.0e}.",
            "",
            "## What the known tastes say of the models",
            "",
            "Share of sampled answers that people of each taste prefer to those of the unaligned model, to the same "
            "unseen prompts. 0.5 is no change.",
            "",
            *table(["trained on", *(f"to {t} people" for t in tastes), "the lower"], wins),
            "",
            f"A model for a taste pleases it and displeases the other. The highest floor is that of *{best}* "
            f"({floor[best]:.3f}); training on votes as they came serves the majority first. One "
            "run of each; intervals are over prompts, and another start of training would move them too.",
            "",
            "## What people's own votes say",
            "",
            "Accuracy of each run's implicit reward on held-out votes, by the group that `fit` put the voter in "
            '(`slices=["meta.group"]`). Votes are noisy: people choose by Bradley-Terry on their own utility.',
            "",
            *table(["trained on", *(f"votes of {n}" for n in names), "KL, nats"], votes),
            "",
            "## In your own code",
            "",
            HOW,
            "For people who come later, `model.localise(feedback)` finds their weights from a few answers, and "
            "`model.export(weights)` their reward. [`pluralign.models`](api/models.md) also has power means from "
            "utilitarian to egalitarian (`welfare`), the AND of several rewards "
            "(`conjunction`), pessimistic bounds and "
            "maximal lotteries; `verdicts` puts them side by side for candidates at hand.",
            "",
            "Written by `python -m benchmarks.steer`.",
            "",
        ]
    )
