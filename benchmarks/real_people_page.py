"""The page and the picture of `benchmarks.real_people`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data_page import table
from pluralign.evaluate.figures import spelled

ORDER = ("several tastes", "one for all", "their own")
ABOUT = {
    "sushi": "Orders of ten kinds of sushi (T. Kamishima, KDD 2003, as kept by BayesMallows, "
    "GPL-3.0); 1,500 of 5,000 people.",
    "coffee": "Four coffees rated blind (Great American Coffee Taste Test, J. Hoffmann and Cometeer 2023).",
    "llmfao": "Crowd workers comparing answers of 59 language models, ties and all (D. Ustalov, CC BY 4.0).",
    "polis": "Agreement with statements (The Computational Democracy Project, CC BY 4.0).",
    "rankme": "Texts of three systems judged side by side (Novikova, Dusek and Rieser 2018, CC BY-SA 4.0).",
    "lamp": "Professional writers ranking a machine's paragraph and two edits (Chakrabarty, "
    "Laban and Wu 2025, BSD-3-Clause).",
}


def studies(kept: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every study by name; the conversations of polis are one each."""
    found: dict[str, dict[str, Any]] = {}
    for name in ABOUT:
        parts = (
            {f"polis: {part}": study for part, study in kept[name].items()} if name == "polis" else {name: kept[name]}
        )
        found |= parts
    return found


def draw(kept: dict[str, Any], path: Path) -> None:
    """Accuracy for people not seen by number of answers, a panel for each data set."""
    from matplotlib.figure import Figure

    from pluralign.rank.plots import COLOURS

    every = studies(kept)
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    panels = figure.subplots(2, (len(every) + 1) // 2, sharey=True).ravel()
    for axes, (name, study) in zip(panels, every.items(), strict=False):
        for label, colour in zip(ORDER, COLOURS, strict=False):
            rows = study["new"][label]
            value, low, high = np.array([[r["accuracy"], r["low"], r["high"]] for r in rows]).T
            at = np.arange(len(rows))
            axes.errorbar(
                at, value, yerr=[value - low, high - value], color=colour, marker="o", ms=4, capsize=2, label=label
            )
        axes.set_xticks(at, [str(r["answers"]) for r in rows])
        axes.set_title(name.replace("polis: ", "").replace("-", " "), fontsize=9)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(0.4, 1.0)
    for axes in panels[len(every) :]:
        axes.set_axis_off()
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, frameon=False, fontsize=10, loc="outside upper center", ncols=len(ORDER))
    figure.supxlabel("answers of a new person", fontsize=10)
    figure.supylabel("accuracy on their other answers", fontsize=10)
    figure.savefig(path, dpi=144)


def verdict(plural: dict[str, Any]) -> str:
    """What interval and null together allow to say."""
    clear = plural["low"] is not None and plural["low"] > 0 and plural["gain"] > max(plural["null"])
    return "yes" if clear else "not shown"


def gains(every: dict[str, dict[str, Any]]) -> list[str]:
    """The measure of how plural each data set is."""
    rows = []
    for name, study in every.items():
        p = study["plurality"]
        ends = "" if p["low"] is None else f" [{p['low']:.3f}, {p['high']:.3f}]"
        null = f"{min(p['null']):.3f} to {max(p['null']):.3f}"
        rows.append(
            [name, f"{study['people']:,}", f"{study['answers']:,}", str(p["chosen"]), str(p["against"]),
             f"{p['gain']:.3f}{ends}", null, f"{p['p']:.2f}", verdict(p)]
        )  # fmt: skip
    head = [
        "data",
        "people",
        "answers",
        "chosen",
        "best above one",
        "gain, nats an answer",
        "names dealt anew",
        "p",
        "plural",
    ]
    return table(head, rows)


def new_people(study: dict[str, Any]) -> list[str]:
    """Accuracy by model and number of answers."""
    counts = [row["answers"] for row in study["new"][ORDER[0]]]
    rows = [[name, *(cell(row) for row in study["new"][name])] for name in ORDER]
    people = study["new"][ORDER[0]][0]["people"]
    return [f"Accuracy for {people:,} people not seen, by how many of their answers are known:", "",
            *table(["model", *map(str, counts)], rows), ""]  # fmt: skip


def cell(row: dict[str, Any]) -> str:
    """0.646 [0.629, 0.662]; the ends of a share stay within 0 and 1."""
    return f"{row['accuracy']:.3f} [{max(row['low'], 0):.3f}, {min(row['high'], 1):.3f}]"


def likes(study: dict[str, Any]) -> list[str]:
    """Each taste in words: what it puts first and last."""
    lines = []
    for k, taste in enumerate(study["like"], start=1):
        order = sorted(taste["scores"], key=lambda item: -taste["scores"][item])
        few = 1 if len(order) < 6 else 2
        lines.append([f"taste {k}", f"{taste['share']:.0%}", ", ".join(order[:few]), ", ".join(order[-few:])])
    return [*table(["", "share", "likes most", "likes least"], lines, left=4), ""]


def page(kept: dict[str, Any]) -> str:
    """docs/real-people.md."""
    every = studies(kept)
    lines = [
        "# Whose preference: real people",
        "",
        "How plural is a data set, and what is a person's first answer worth? Six public data "
        "sets, each person under a "
        "name of their own. *Gain* is the held-out log-loss of one taste less that of several, on answers that neither "
        "fitted the models nor chose their number, with people as the units of its interval. The same gain after the "
        "names were dealt anew among the answers is what chance gives. *Plural* asks for an interval clear of zero and "
        "a gain above all that chance gave.",
        "",
        *gains(every),
        "",
        "Then three in ten people (two in five for the writers) are left out whole, placed by their first answers with "
        "everything else as it is, and their other answers foretold: by several tastes, by one model for all, and by a "
        "model of each person alone (a ridge regression on their own answers).",
        "",
        "![Accuracy for people not seen](real-people.png)",
        "",
    ]
    for name, words in ABOUT.items():
        lines += [f"## {name}", "", words, ""]
        parts = kept[name] if name == "polis" else {name: kept[name]}
        for part, study in parts.items():
            if name == "polis":
                lines += [f"### {part}", ""]
            lines += [*new_people(study), *SPECIAL.get(name, lambda _: [])(study)]
    return "\n".join([*lines, "Written by `python -m benchmarks.real_people --data FOLDER`.", ""])


def _sushi(study: dict[str, Any]) -> list[str]:
    counts = [row["answers"] for row in study["top"][ORDER[0]]]
    rows = [[name, *(spelled(row) for row in study["top"][name])] for name in ORDER]
    return [
        "How often the kind that scores highest is the person's favourite of ten:", "",
        *table(["model", *map(str, counts)], rows), "",
        "Several tastes are best up to five answers; from twenty on a person's own model knows them better. The number "
        f"of tastes runs to the largest tried ({study['plurality']['groups'][-1]}): tastes vary "
        "by degrees. Pairs of one "
        "ranking follow from each other in part, so held-out pairs are easier than new questions would be, for the two "
        "models that know the person.", "",
        *likes(study),
    ]  # fmt: skip


def _coffee(study: dict[str, Any]) -> list[str]:
    routed = [[name, spelled(figure, sign="+")] for name, figure in study["routed"].items()]
    return [
        *likes(study),
        "Can a taste be told without tasting? Weights foretold from the questionnaire (five folds of people), accuracy "
        "over that of everybody's mean weights:", "",
        *table(["foretold from", "gain in accuracy"], routed), "",
        "Habits (how they take their coffee, what they usually drink, how expert they feel) tell much, demographics "
        "little. Pairs come from four ratings of each person and are not independent; equal ratings are left out.", "",
    ]  # fmt: skip


def _llmfao(study: dict[str, Any]) -> list[str]:
    found = study["ceiling"]
    return [
        f"A worker agrees with the majority of the others on {spelled(found['others'])} of pairs, which bounds what a "
        "model of the crowd can be expected to reach. Whatever plurality there is, it is small: "
        "new workers are foretold no better for it.", "",
    ]  # fmt: skip


def _polis(study: dict[str, Any]) -> list[str]:
    g = study["groups"]
    found = "recovered for the most part" if g["rand"] > 0.5 else "recovered in part at best"
    return [
        f"With as many tastes as the platform published groups ({g['groups']}), fitted to all {g['n']:,} people whom "
        f"it placed: adjusted Rand index {g['rand']:.2f}, at most {g['chance']:.2f} of 199 shuffles. Sizes "
        f"{', '.join(map(str, g['ours']))} here, {', '.join(map(str, g['theirs']))} there: "
        f"{found}. A person's own model knows single statements, and so nothing of those they have not voted on.", "",
    ]  # fmt: skip


def _few(study: dict[str, Any]) -> list[str]:
    return [
        f"{study['people']} people are too few to say much: the intervals, by Student's t over "
        "people left out, are wide.",
        "",
    ]


SPECIAL = {"sushi": _sushi, "coffee": _coffee, "llmfao": _llmfao, "polis": _polis, "rankme": _few, "lamp": _few}
