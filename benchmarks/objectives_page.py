"""docs/objectives-lab.md from the results of `benchmarks.objectives`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import objectives as bench
from benchmarks.objectives import SETTINGS
from pluralign.intervals import clustered_t

Results = dict[str, dict[int, dict[str, Any]]]
Interval = tuple[float, float, float]


def values(results: Results, key: str, name: str, figure: str) -> dict[int, float]:
    """A figure by world."""
    found = {seed: worlds[name] for seed, worlds in results[key].items() if name in worlds}
    return {seed: f[figure] for seed, f in found.items() if figure in f and np.isfinite(f[figure])}


def interval(numbers: Sequence[float]) -> Interval | None:
    """Mean and Student's 95% interval over worlds; none from fewer than three."""
    if len(numbers) < 3:
        return None
    v = np.array(numbers)
    if np.ptp(v) == 0:
        return float(v[0]), float(v[0]), float(v[0])
    low, high = clustered_t(v, np.arange(len(v)))
    return float(v.mean()), low, high


def gap(results: Results, key: str, ours: str, theirs: str, figure: str) -> Interval | None:
    """One objective minus another in the same worlds."""
    a, b = values(results, key, ours, figure), values(results, key, theirs, figure)
    return interval([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])


def cell(found: Interval | None, sign: str = "") -> str:
    if found is None:
        return ""
    mean, low, high = found
    return f"{mean:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


def marked(found: Interval | None, against: Interval | None) -> str:
    """A cell; bold where clearly above DPO in the same worlds, in italics where clearly below."""
    text = cell(found)
    if against is None or not text:
        return text
    return f"**{text}**" if against[1] > 1e-9 else f"*{text}*" if against[2] < -1e-9 else text


def twins(results: Results, names: Sequence[str]) -> dict[str, list[str]]:
    """Objectives by the first of those that came to the very same figures in every world that both could do."""
    leaders: dict[str, list[str]] = {}
    for name in names:
        own = {(k, s): w[name]["quality"] for k in results for s, w in results[k].items() if "quality" in w[name]}
        if not own:
            continue
        for leader in leaders:
            theirs = {(k, s): w[leader].get("quality") for k in results for s, w in results[k].items()}
            if all(theirs[at] is not None and abs(theirs[at] - q) < 1e-9 for at, q in own.items()):
                leaders[leader].append(name)
                break
        else:
            leaders[name] = []
    return leaders


Claim = tuple[str, str, str, str, str]
CLAIMS: list[Claim] = [
    # what is said, setting, objective, rival, figure
    ("rdpo undoes flips: more quality than dpo at the same beta (20%)", "flips-20", "rdpo", "dpo", "quality"),
    ("rdpo undoes flips: more quality than dpo at the same beta (40%)", "flips-40", "rdpo", "dpo", "quality"),
    ("rdpo ranks better than dpo under flips (20%)", "flips-20", "rdpo", "dpo", "accuracy"),
    ("rdpo ranks better than dpo under flips (40%)", "flips-40", "rdpo", "dpo", "accuracy"),
    ("rdpo spends its KL better than dpo under flips (40%)", "flips-40", "rdpo", "dpo", "share"),
    ("cdpo ranks better than dpo under flips (40%)", "flips-40", "cdpo", "dpo", "accuracy"),
    ("cdpo stays nearer to the reference than dpo under flips (40%)", "flips-40", "dpo", "cdpo", "kl"),
    ("a debiased SimPO ranks better than SimPO under flips (40%)", "flips-40", "debiased(simpo)", "simpo", "accuracy"),
    ("a smoothed SimPO ranks better than SimPO under flips (40%)", "flips-40", "smoothed(simpo)", "simpo", "accuracy"),
    ("a bounded loss (napo; ROPO is one) ranks better under flips (20%)", "flips-20", "napo", "dpo", "accuracy"),
    ("a bounded loss (napo; ROPO is one) ranks better under flips (40%)", "flips-40", "napo", "dpo", "accuracy"),
    ("a bounded loss (napo) spends its KL better under flips (40%)", "flips-40", "napo", "dpo", "share"),
    ("soft labels from ratings (mmpo) rank better than hard ones (clean)", "clean", "mmpo", "dpo", "accuracy"),
    ("soft labels from ratings (mmpo) rank better than hard ones (40%)", "flips-40", "mmpo", "dpo", "accuracy"),
    ("offsets from ratings (odpo) rank better than dpo (clean)", "clean", "odpo", "dpo", "accuracy"),
    ("dpo is no worse at its KL than ipo where labels are clean", "clean", "dpo", "ipo", "share"),
    ("dpo is no worse at its KL than kto where labels are clean", "clean", "dpo", "kto", "share"),
    ("r_dpo gets rid of a liking for length", "length", "r_dpo", "dpo", "share"),
    ("simpo gets rid of a liking for length", "length", "simpo", "dpo", "share"),
    ("ln_dpo gets rid of a liking for length", "length", "ln_dpo", "dpo", "share"),
    ("todo gains from ties that dpo must leave out", "ties", "todo", "dpo", "accuracy"),
    ("ties in any logistic objective: ties(simpo) over simpo", "ties", "ties(simpo)", "simpo", "accuracy"),
    ("lists of four: pl_dpo ranks better than dpo on their pairs", "lists", "pl_dpo", "dpo", "accuracy"),
    ("lists of four: lipo ranks better than dpo on their pairs", "lists", "lipo", "dpo", "accuracy"),
    ("lists of four: pro ranks better than dpo on their pairs", "lists", "pro", "dpo", "accuracy"),
]
"""What papers say of objectives, as a difference that should be above zero ("no worse": not below it)."""


def verdict(said: str, found: Interval | None) -> str:
    if found is None:
        return "not measured"
    _, low, high = found
    if low > 1e-9:
        return "**shows**"
    if high < -1e-9:
        return "**the opposite shows**"
    return "shows (not told apart)" if "no worse" in said else "not shown"


def page(results: Results, names: Sequence[str]) -> str:
    """The whole page."""
    counts = sorted({len(worlds) for worlds in results.values()})
    seeds = " or ".join(map(str, counts))
    leaders = twins(results, names)
    refused = {
        name: next(w[name]["refused"] for k in results for w in results[k].values() if "refused" in w[name])
        for name in names
        if all("refused" in w[name] for k in results for w in results[k].values())
    }
    lines = [HEAD.format(**vars(bench), seeds=seeds)]
    lines += ["## Claims", "", "| claim | difference | |", "| --- | --- | --- |"]
    for said, key, ours, theirs, figure in CLAIMS:
        if ours in names and theirs in names:
            found = gap(results, key, ours, theirs, figure)
            lines.append(f"| {said} | {cell(found, '+')} {FIGURES[figure]} | {verdict(said, found)} |")
    lines += ["", *READING.splitlines(), ""]
    for figure, (title, about) in TABLES.items():
        lines += [f"## {title}", "", *about.splitlines(), ""]
        lines += [*table(results, leaders, figure), ""]
    lines += ["## Same as another", "", "Here these come to the same figures as the one they stand behind:", ""]
    lines += [f"- `{leader}`: {', '.join(f'`{n}`' for n in same)}" for leader, same in leaders.items() if same]
    lines += ["", "## Not measured", ""]
    lines += [f"- {reason}" for reason in dict.fromkeys(refused.values())]
    lines += ["", "*This page is written by `make bench-objectives`.*", ""]
    return "\n".join(lines)


def table(results: Results, leaders: dict[str, list[str]], figure: str) -> list[str]:
    """A row for each objective, the best in clean worlds first."""

    def place(name: str) -> float:
        found = interval(list(values(results, "clean", name, figure).values()))
        return -found[0] if found else float("inf")

    head = ["objective", *(setting.title for setting in SETTINGS.values())]
    rows = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for name in sorted(leaders, key=place):
        cells = []
        for key in SETTINGS:
            found = interval(list(values(results, key, name, figure).values()))
            cells.append(marked(found, gap(results, key, name, "dpo", figure) if name != "dpo" else None))
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return rows


FIGURES = {"quality": "quality", "accuracy": "accuracy", "share": "share", "kl": "nats"}
TABLES: dict[str, tuple[str, str]] = {
    "share": (
        "What the KL bought",
        "Quality gained on prompts that nobody judged, as a share of the most that can be had for the same KL: 1 is\n"
        "on the best line of [reward against KL](lab.md#reward-against-kl), 0 is the reference, below 0 is worse.",
    ),
    "accuracy": (
        "Ranking",
        "How often the log-ratio to the reference ranks two responses to a prompt that nobody judged as their quality\n"
        "does.",
    ),
    "quality": (
        "Quality",
        "Expected quality gained over the reference, at beta 1. Beta does not mean the same everywhere, so that a\n"
        "larger gain may only be a larger step; see what the KL bought.",
    ),
}
HEAD = """# Every objective in worlds with known answers

Every objective of the [catalogue](objectives.md) and some [combinations](own-loop.md), trained alike in six kinds
of [world](lab.md) in which the quality of every response is known: {STEPS} steps of Adam (learning rate {RATE}) on
all judgements at once, {JUDGEMENTS} of them on {TRAIN} prompts with {RESPONSES} responses each, by a policy with
{FEATURES} weights that all prompts share. All figures are of {HELD_OUT} other prompts. Beta is {BETA:g} wherever there
is one; other options stand at their defaults, except that what a world knows of itself is told: the rate of flips
to `rdpo`, `cdpo`, `debiased`, `smoothed`, the weight of length to `r_dpo`, the threshold of ties to `todo` and
`ties`.

- *20%, 40% flipped*: so many answers are turned round. Ratings, for the objectives that read them, stay the true
  ones.
- *length liked*: people go by quality plus {LIKING:g} for every token; responses have 1 to 12 tokens, unrelated to
  quality, and the policy can see length.
- *ties*: people say "as good" where the difference is small (Rao and Kupper, threshold {THRESHOLD:g}).
  Objectives without a place for ties learn from the rest.
- *K = 4*: people rank four responses; objectives of pairs get all six pairs of each ranking, so that all know the
  same.

Intervals are 95% intervals (Student's) over {seeds} drawn worlds of each kind. In the tables **bold** is clearly
above `dpo` in the same worlds, *italics* clearly below; no correction is made for their number, so that of a
hundred comparisons without any difference about five are marked.
"""
READING = """\
A claim "shows" where the interval of the difference is above zero. That the flip rate is known, as `rdpo` and
`cdpo` assume, is the best case for them. Flips that hit all pairs alike make a preference weaker and do not turn
it: what `dpo` learns under them is shorter, not in another direction, and that is why quality at the same beta and
ranking are asked about apart. `mmpo`
and `odpo` read the true ratings, which are not flipped: what they win is what ratings are worth. With few
worlds "not shown" may only be their number: `--seeds` draws more."""
