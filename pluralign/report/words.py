"""What the figures of a run say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pluralign.evaluate.figures import chance, spelled
from pluralign.evaluate.measures import LONGER, OWN_REWARD, REFERENCE, REFERENCE_MEAN, REWARD, SHORTER

Figures = Mapping[str, Any]


def lead(figures: Figures) -> str:
    """The ranking that the run is about: a policy's implicit reward, or a reward itself."""
    return REWARD if REWARD in figures["accuracy"] else OWN_REWARD


def rivals(figures: Figures) -> dict[str, str]:
    """The better of the reference's two rankings, and of the two that know nothing but length.

    A claim should hold against the best that either can do. Of equals the first. A reward has no reference.
    """
    accuracy = figures["accuracy"]

    def best(*names: str) -> str:
        return max(names, key=lambda name: accuracy[name]["value"])

    known = {"reference": best(REFERENCE, REFERENCE_MEAN)} if REFERENCE in accuracy else {}
    return known | {"length": best(LONGER, SHORTER)}


def gains(figures: Figures) -> dict[str, Any]:
    """Accuracy of the reward minus that of its rivals, on the same pairs."""
    return {name: figures["difference"][f"{lead(figures)} - {rival}"] for name, rival in rivals(figures).items()}


def verdict(figures: Figures) -> str:
    """Does it rank as people do, and is that more than the reference and more than length would give?"""
    accuracy, gain = figures["accuracy"], gains(figures)
    ours, rival = accuracy[lead(figures)], rivals(figures)
    says = f"It ranks the preferred response first in {percent(ours)} of {ours['n']:,} held-out pairs"
    if figures["kind"] == "thumbs":
        says = (
            f"It ranks a good response above a bad one in {percent(ours)} of cases (AUC of {ours['n']:,} held-out rows)"
        )
    if not (above(ours, 0.5) or below(ours, 0.5)):
        says += ", which is not clear of chance."
    else:
        says += f", {'better' if above(ours, 0.5) else 'worse'} than chance."
    if "reference" in rival:
        says += f" The reference model's own likelihood does so in {percent(accuracy[rival['reference']])}: the run is "
        says += f"{_compared(gain['reference'])} that, {_by(gain['reference'])}."
    says += f" Always taking the longer response gives {percent(accuracy[LONGER])}"
    if rival["length"] == SHORTER:
        says += f", the shorter {percent(accuracy[SHORTER])}"
    return says + f": the run is {_compared(gain['length'])} that, {_by(gain['length'])}."


def warnings(figures: Figures) -> list[str]:
    """What a careful reader would want pointed out."""
    found = []
    n, clusters = figures["n"], figures["clusters"]
    if n < 100:
        found.append(f"Few rows: {n:,} {figures['kind']} in {clusters:,} clusters, so intervals are wide.")
    if clusters < 10:
        # Resampling a handful of clusters cannot show how different an unseen one may be.
        found.append(
            f"Few clusters: {clusters:,} by {figures['cluster_by']}, so intervals are wide, and rough even so."
        )
    liked = "preferred" if figures["kind"] == "pairs" else "good"
    if figures["displacement"]:
        moved, fell = figures["displacement"]["chosen"], figures["displacement"]["chosen_fell"]
        if below(moved, 0) or above(fell, 0.5):
            found.append(
                f"Likelihood displacement: {percent(fell)} of {liked} responses became less likely; their log-prob "
                f"moved by {spelled(moved, 1, '+')} nats on average over all."
            )
    if not above(gains(figures)["length"], 0) and above(figures["accuracy"][lead(figures)], 0.5):
        liking = "long" if rivals(figures)["length"] == LONGER else "short"
        found.append(f"What it learnt is not shown to be more than a liking for {liking} responses.")
    ece = figures["calibration"]["ece"] if figures["kind"] == "pairs" else None
    if ece and above(ece, 0.1):
        found.append(f"Its margins are no probabilities: their sigmoid is off by {percent(ece)} on average.")
    return found + _about_samples(figures.get("generations"))


def _about_samples(drawn: Figures | None) -> list[str]:
    if not drawn:
        return []
    found = []
    ours, theirs = drawn["length"]["policy"], drawn["length"]["reference"]
    for changed, most, least in (("grew", ours, theirs), ("shrank", theirs, ours)):
        if most["low"] is not None and least["high"] is not None and most["low"] > least["high"]:
            found.append(
                f"Responses {changed} from {spelled(theirs, 0)} to {spelled(ours, 0)} tokens on average, "
                f"over {drawn['n']:,} prompts."
            )
    unfinished = drawn["unfinished"]["policy"]
    if unfinished:
        found.append(f"{unfinished} of {drawn['n']} samples were cut off at {drawn['max_new_tokens']} tokens.")
    if drawn.get("cut"):
        found.append(f"{drawn['cut']} of {drawn['n']} prompts lost their beginning: the model's window is too small.")
    return found


def above(figure: Figures, value: float) -> bool:
    """Whether the whole interval is above a value. Where there is no interval, nothing is shown."""
    return figure["low"] is not None and bool(figure["low"] > value)


def below(figure: Figures, value: float) -> bool:
    """Whether the whole interval is below a value."""
    return figure["high"] is not None and bool(figure["high"] < value)


def side(gap: Figures) -> str:
    """Which side of zero the interval of a difference is on: better, worse or not told apart."""
    if above(gap, 0):
        return "better"
    return "worse" if below(gap, 0) else "not told apart"


def _compared(gap: Figures) -> str:
    return f"{said} from" if (said := side(gap)) == "not told apart" else f"{said} than"


def _by(gap: Figures) -> str:
    return f"{points(gap)}, {chance(gap['p'])}"


def percent(figure: Figures) -> str:
    """A share in per cent.

    >>> percent({"value": 0.5, "low": 0.25, "high": 0.75})
    '50.0% [25.0, 75.0]'
    """
    value, _, interval = spelled(figure, 1, unit=0.01).partition(" ")
    return f"{value}% {interval}"


def points(figure: Figures) -> str:
    """A difference of shares in points of per cent."""
    value, _, interval = spelled(figure, 1, "+", unit=0.01).partition(" ")
    return f"{value} points {interval}"
