"""Tables and verdicts of `benchmarks.population_claims`."""

from __future__ import annotations

from benchmarks.population_claims import ASKED, FEW, READ
from benchmarks.tables import Rows, cell, difference, interval, said, spread, values, verdict


def as_good(rows: Rows, world: str, drawn: int) -> list[float]:
    """Of each seed, the questions by information that tell as much as so many drawn; one more than asked if none do."""
    random = values(rows, "random", world=world, answers=drawn)
    reached = {m: values(rows, "asked", world=world, answers=m) for m in range(1, ASKED + 1)}
    return [float(next((m for m in reached if reached[m][s] >= random[s]), ASKED + 1)) for s in random]


def asking(rows: Rows) -> list[str]:
    """Questions asked against questions drawn."""
    shown = [m for m in (1, 2, 4, ASKED) if m <= ASKED]
    out = [
        "| world | model | questions | "
        + " | ".join(map(str, shown))
        + f" | as good as 4 drawn | as good as {ASKED} |",
        "|---" * (len(shown) + 5) + "|",
    ]
    for world in dict.fromkeys(r["world"] for r in rows):
        of = [r for r in rows if r["world"] == world]
        for how, name in (("asked", "by information"), ("random", "as they come")):
            needed = ""
            if how == "asked":
                means = (interval(as_good(rows, world, drawn)) for drawn in (4, ASKED))
                needed = " | ".join(f"{mean:.1f} ({max(low, 1):.1f} to {high:.1f})" for mean, low, high in means)
            cells = [cell(of, how, answers=m) for m in shown]
            out.append(f"| {world} | {of[0]['model']} | {name} | " + " | ".join(cells) + f" | {needed or '4 | 8'} |")
        cells = []
        for m in shown:
            a, b = (values(of, how, answers=m) for how in ("asked", "random"))
            cells.append(said(interval([a[seed] - b[seed] for seed in a])))
        out.append("| | | difference | " + " | ".join(cells) + " | | |")
    return out


def claims(found: dict[str, Rows]) -> list[str]:
    """One line a claim: what was measured and what it shows."""
    out = ["| method | claim | measured | so |", "|---|---|---|---|"]
    for world in ("bimodal", "goals", "bends"):
        mean, low, high = interval(as_good(found["asking"], world, ASKED))
        so = "shown" if high <= ASKED / 2 else "not shown" if low <= ASKED / 2 else "missed"
        told = f"{mean:.1f} ({max(low, 1):.1f} to {high:.1f}) questions tell as much as {ASKED} drawn, {world}"
        out.append(f"| VPL | questions by information halve their number | {told} | {so} |")
    reading = found["reading"]
    for world, people in READ:
        pair = ({"model": m, "world": world, "people": people} for m in ("few-shot", "ideal-point"))
        three = difference(reading, "new 20", *pair)
        told = f"accuracy at 20 answers less that of PAL-A, {world}, {people} people: {said(three)}"
        out.append(f"| FSPO | learning to read people beats a fixed form | {told} | {verdict(*three[1:])} |")
    for name in ("three times the steps", "IPO"):
        for world in ("goals", "bends"):
            pair = ({"model": m, "world": world, "people": FEW} for m in (f"few-shot, {name}", "few-shot"))
            three = difference(reading, "new 20", *pair)
            told = f"accuracy at 20 answers less that without, {world}, {FEW} people: {said(three)}"
            out.append(f"| FSPO | {name} foretells better | {told} | {verdict(*three[1:])} |")
    for answers in (60, 240):
        for column, how in (("ece", ""), ("ece scaled", ", at one temperature each")):
            pair = ({"model": m, "answers": answers} for m in ("plain mixing, same steps", "MORE"))
            three = difference(found["sharing"], column, *pair)
            told = f"calibration error of plain mixing less MORE's, {answers} answers a source{how}: {said(three)}"
            out.append(f"| MORE | better calibrated on what is shared | {told} | {verdict(*three[1:])} |")
    for answers in (5, 30):
        for other in ("no reference", "the reference alone"):
            pair = ({"model": m, "answers": answers} for m in (other, "pull 0.03"))
            three = difference(found["pulling"], "nats", *pair)
            told = f"nats saved by a pull of 0.03 beside {other}, {answers} answers a person: {said(three)}"
            out.append(
                f"| LoRe | the pull to a reference helps where answers are few | {told} | {verdict(*three[1:])} |"
            )
    for alpha in (0.1, 0.0):
        three = difference(found["routing"], "nats", {"alpha": 0.5}, {"alpha": alpha})
        told = f"nats saved by {alpha:g} beside the paper's 0.5, people seen: {said(three)}"
        out.append(f"| MiCRo | less pull to equal shares foretells better | {told} | {verdict(*three[1:])} |")
    return out


def routing(rows: Rows) -> list[str]:
    """MiCRo by its pull to equal shares."""
    columns = {"accuracy": "people seen", "nats": "nats", "new": "new people, 20 answers", "new nats": "nats"}
    out = ["| alpha | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for alpha in sorted({r["alpha"] for r in rows}):
        out.append(f"| {alpha:g} | " + " | ".join(cell(rows, column, alpha=alpha) for column in columns) + " |")
    return out


def sections(found: dict[str, Rows]) -> list[str]:
    """The part of the page with a table for each claim."""
    new = {"new 1": "new, 1 answer", "new 5": "5", "new 20": "20"}
    out = [
        "## Questions asked",
        "",
        "`next_question` picks, of 100 pairs, the one whose answer tells most about the person so far; against pairs",
        f"as they come. Accuracy on other answers of 20 new people after 1 to {ASKED} questions, and after how many of",
        f"those picked it is as good as after 4 or {ASKED} that came ({ASKED + 1} where it never was). Networks that",
        "read answers were trained on answers that came by chance, and a few that were picked are not like these.",
        "",
        *asking(found["asking"]),
        "",
        "## Reading people against a fixed form",
        "",
        "Where everybody wants to be near a goal, PAL-A has the true form of the reward, and a network that reads",
        "answers has to find it; where rewards wave, PAL-A has a wrong one. *Who knows the world* foretells by the",
        "exact posterior of the one angle in which people differ: more cannot be reached but by luck.",
        "",
    ]
    for world, people in READ:
        out += [f"{world}, {people} people seen:", "", *spread(found["reading"], new, world=world, people=people), ""]
    out += [
        "## A router's pull to equal shares",
        "",
        "MiCRo adds alpha times the negative entropy of the shares to the loss; the paper's alpha is 0.5, ours by",
        "default 0.1. World: routed.",
        "",
        *routing(found["routing"]),
        "",
        "## A pull to a reference",
        "",
        "Twenty people of the world crowd, of 5 or 30 answers each; the reference is the reward of a crowd of 60",
        "others. LoRe's directions start about it and are pulled to it; *no reference* is LoRe without.",
        "",
    ]
    for answers in (5, 30):
        out += [f"{answers} answers a person:", ""]
        out += [*spread(found["pulling"], {"accuracy": "accuracy", "nats": "log-loss, nats"}, answers=answers), ""]
    out += [
        "## What sources share",
        "",
        "Four sources: all like one feature, three like a second and one dislikes it. Answers by the shared feature",
        "alone are foretold. MORE's claim is a lower calibration error than that of plain mixing. *Sharper* is by how",
        "much log-odds had to be multiplied to fit other such answers (one over the temperature): above one they were",
        "too timid, below one too bold.",
        "",
    ]
    columns = {"accuracy": "accuracy", "nats": "log-loss, nats", "ece": "calibration error"}
    columns |= {"sharper": "sharper", "ece scaled": "calibration error then"}
    for answers in (60, 240):
        out += [f"{answers} answers a source:", "", *spread(found["sharing"], columns, answers=answers)]
        pair = [{"model": m, "answers": answers} for m in ("MORE", "plain mixing, same steps")]
        cells = [said(difference(found["sharing"], column, *pair)) for column in columns]
        out += ["| MORE less plain mixing | " + " | ".join(cells) + " |", ""]
    return out
