"""The pages of what people go by and of groups, from made-up results; the texts' marks and majorities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import explain_page, groups
from benchmarks.explain import _alike
from benchmarks.explain_texts import NAMES, Choices, _majority
from benchmarks.explain_words import SOURCES
from pluralign.feedback.record import Judgement, Response, text


def figure(value: float, half: float = 0.1, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, "n": 1000, **more}


def made() -> dict[str, Any]:
    """Results in which length counts for and questions against everywhere, and nothing is shared."""
    rows = [figure(1.0, factor="very long", choices=99), figure(-0.5, factor="question", choices=50)]
    weights = [figure(v, property=p, pairs=90, separable=True) for p, v in (("length", 1.0), ("question", -0.4))]
    taus = [figure(v, factor=f) for f, v in (("length", 0.3), ("question", -0.2), ("I", 0.0))]
    judges = list(SOURCES)
    alike = [
        figure(0.8, one=a, other=b, factors=3, **{"same pairs": {a, b} == {explain_page.PEOPLE, explain_page.MODEL}})
        for i, a in enumerate(judges)
        for b in judges[:i]
    ]
    held = {"weights": figure(0.7), "length": figure(0.6), "gain": figure(0.1, 0.05), "n": 1000}
    accuracy = [
        figure(value, domain=where, model=model, **{"in": one})
        for where, models in (("seen", {"shared and own": 0.7}), ("not seen", {"shared, alpha 1": 0.3}))
        for model, value in models.items()
        for one in ("all", *judges)
    ]
    layers = [
        {"layer": i, **figure(0.6 + i / 10), "shuffled": 0.5, "gain": 0.1, "p": 1e-4}
        | {"over": 0.1 - i / 10, "over_low": 0.05 - i / 10, "over_high": 0.2}
        for i in range(2)
    ]
    probed = {
        "n": 100,
        "groups": 9,
        "rule": "longer",
        "steps": 100,
        "length": figure(0.65),
        "layers": {"MiniLM": layers},
    }
    value = {"attention": 0.5, "attention_low": 0.4, "attention_high": 0.6}
    value |= {"lost": 0.1, "lost_low": 0.05, "lost_high": 0.15}
    effects = [
        figure(v, community=c, attribute=a) | value
        for c in ("Light", "Medium", "Dark")
        for a, v in (("bitterness", -0.5), ("acidity", 0.5))
    ]
    setting = {"alpha": 1.0, "own": 0.01, "shared": 0.003}
    concepts = [figure(v, concept="length", domain=d) for d, v in (("all", 0.0), *((j, 1.0) for j in judges))]
    kept: dict[str, Any] = {
        "strengths": dict.fromkeys(judges, rows),
        "agreement": {"tau": dict.fromkeys(judges, taus), "alike": alike},
        "dissection": {
            "weights": dict.fromkeys(judges, weights),
            "held out": dict.fromkeys(judges, held),
            "alike": alike,
        },
        "concepts": {"setting": setting, "n": 900, "accuracy": accuracy, "weights": concepts},
        "probes": dict.fromkeys(judges[:2], probed),
        "values": {"sizes": {"Light": 9, "Medium": 9, "Dark": 9}, "effects": effects, "tasters": 27, "answers": 99},
    }
    return {name: {**part, "seconds": 60.0} for name, part in kept.items()} | {"pairs": {key: [9, 3] for key in judges}}


def test_the_page_is_written_from_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_page, "DOCS", tmp_path)
    explain_page.write(made())
    page = (tmp_path / "explain.md").read_text()
    assert "- arguments, crowd: for very long; against question." in page
    assert "is 0.80 [0.70, 0.90] over the 1,000 pairs that both told apart" in page
    assert f"Ahead of length with the whole interval: {'; '.join(SOURCES)}." in page
    assert "**worse than a coin**" in page
    assert "Ahead of length with the whole interval: MiniLM (layer 0)." in page
    assert "| Dark roast | bitterness | **-0.50 [-0.60, -0.40]** | 0.50 [0.40, 0.60] |" in page
    assert "6 minutes of one core" in page
    assert {p.name for p in tmp_path.glob("*.png")} == {f"explain-{name}.png" for name in explain_page.PARTS}


def judged(a: str, b: str, ranks: tuple[int, int]) -> Judgement:
    return Judgement(prompt=text("why?"), responses=(Response(text(a)), Response(text(b))), ranks=ranks)


def test_the_majority_tells_and_the_order_of_sides_does_not() -> None:
    votes = [judged("a b", "because", (2, 1)), judged("because", "a b", (1, 2)), judged("a b", "because", (1, 2))]
    votes += [judged("x", "y", (1, 2)), judged("x", "y", (2, 1)), judged("", "y", (1, 2))]
    found = _majority("crowd", votes, lambda j: "why?")
    assert found.texts == [("because", "a b")]
    row = dict(zip(NAMES, found.differences()[0], strict=True))
    assert row["reason"] == 1
    assert row["length"] == pytest.approx(np.log2(7 / 3))
    winner, loser, names = found.factors()
    assert winner[0, names.index("reason")]
    assert not loser[0, names.index("reason")]


def test_judges_of_the_same_pairs_are_compared_on_those() -> None:
    pairs = [(f"a{i}", f"b{i}") for i in range(120)]
    one = Choices("one", pairs, np.arange(120), [f"{i}" for i in range(120)])
    other = Choices("other", pairs[10:], np.arange(110), [f"{i}" for i in range(10, 120)])
    mine, theirs = _alike(one, other)
    assert mine.pair == theirs.pair
    assert mine.texts == theirs.texts
    apart = Choices("apart", pairs, np.arange(120), [f"other {i}" for i in range(119)] + ["0"])
    assert _alike(one, apart) == (one, apart)


def test_the_page_of_groups_is_written_from_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "DOCS", tmp_path)
    table = [
        {"group": k, "share": 0.5, "low": 0.4, "high": 0.6, "people": 30, "typical": ["p1"], "alike": 0.9}
        for k in (0, 1)
    ]
    gap = {"others": 0.5, "gap": 0.3, "gap_low": 0.2, "gap_high": 0.4}
    likes = [figure(0.8, group=k, thing=f"tea {k}", answers=90, people=30) | gap for k in (0, 1)]
    one = {"chosen": 1, "table": table, "weights": [[0.9, 0.1], [0.2, 0.8]] * 30, "things": "items", "likes": likes}
    groups.write({name: {**one, "who": None, "pairs": None, "seconds": 20} for name in groups.ABOUT})
    page = (tmp_path / "groups.md").read_text()
    assert (
        "Prefers tea 0 (80% [70%, 90%] of comparisons). More than the others it prefers tea 0 (80%, others 50%)."
        in page
    )
    assert page.count("chooses **one** group") == 2
    assert (tmp_path / "groups-sushi.png").is_file()
