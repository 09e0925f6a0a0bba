"""What a run is watched by, where the answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pluralign.lab.tiny import build
from pluralign.online import OnlineRun
from pluralign.online.asking import as_prompt
from pluralign.online.drawn import Drawn, Law, Sample
from pluralign.online.judges import Recorded, Scored
from pluralign.online.monitors import Monitors, gap, hacking
from pluralign.report import report

PROMPTS = [as_prompt(f"{i}?") for i in range(30)]


def said(texts: list[str]) -> list[Drawn]:
    law = Law.of("previous")
    return [
        Drawn(p, (1, 2), (Sample(t, (5, 6), (-1.0, -1.0), "eos", 0, law),)) for p, t in zip(PROMPTS, texts, strict=True)
    ]


class Circle:
    """Rock, paper, scissors."""

    name = "circle"

    def prob(self, prompts: Any, first: Any, second: Any) -> Any:
        beats = {("r", "s"), ("s", "p"), ("p", "r")}
        return np.array(
            [1.0 if (a, b) in beats else 0.0 if (b, a) in beats else 0.5 for a, b in zip(first, second, strict=True)]
        )


def test_the_gap_of_a_circle_is_seen_by_the_opponent_that_wins() -> None:
    monitors = Monitors(PROMPTS, {"proxy": Circle()}, {}, said(["r"] * 30))
    against = [monitors._won(Circle(), said(["s"] * 30), said([other] * 30)) for other in "spr"]
    assert gap(against) == {"gap": 1.0, "gap_low": 1.0, "gap_high": 1.0}
    mixed = said(list("rps" * 10))
    assert gap([monitors._won(Circle(), mixed, said([other] * 30)) for other in "rps"])["gap"] == 0.0


def test_the_gap_has_an_interval_that_covers_it() -> None:
    covered = 0
    for seed in range(12):
        draw = np.random.default_rng(seed)
        found = gap([draw.binomial(1, 0.35, size=60).astype(float), draw.binomial(1, 0.6, size=60).astype(float)])
        covered += found["gap_low"] <= 0.3 <= found["gap_high"]
    assert covered >= 9


def test_hacking_is_named_only_when_both_judges_move_apart() -> None:
    draw = np.random.default_rng(1)
    flat, up, down = (shift + 0.1 * draw.standard_normal(40) for shift in (0.5, 0.8, 0.2))
    assert hacking({"proxy": [flat, up], "independent": [flat, up]}) is None
    assert hacking({"proxy": [flat, down], "independent": [flat, down]}) is None
    assert hacking({"proxy": [flat, flat + 0.001], "independent": [flat, down]}) is not None
    assert hacking({"proxy": [flat], "independent": [flat]}) is None
    warning = hacking({"proxy": [flat, flat, up], "gold": [flat - 0.1, flat, down]})
    assert warning is not None
    assert warning.startswith("reward hacking: since round 1")
    assert "under the gold judge fell" in warning


@pytest.fixture(scope="module")
def line() -> dict[str, Any]:
    """What is seen of a policy that writes on and on, for a judge who likes that, and another who does not."""
    model = build("tiny", ["one two three"], steps=1)[0]
    long = Scored(lambda prompt, response: float(len(response)), name="long", scale=0.5)
    short = Scored(lambda prompt, response: -float(len(response)), name="short", scale=0.5)
    judges = {"proxy": Recorded(long), "independent": short}
    monitors = Monitors(PROMPTS, judges, {"long": long, "short": short}, said(["one"] * 30), most=1)
    return monitors.watch(said(["one two three"] * 28 + ["one"] * 2), model, model)


def test_a_policy_that_games_its_judge_is_named(line: dict[str, Any]) -> None:
    assert line["proxy/win_rate"] > 0.9 > 0.1 > line["independent/win_rate"]
    assert line["proxy/win_rate_low"] < line["proxy/win_rate"] < line["proxy/win_rate_high"]
    assert (line["worst_group"], line["worst_group/win_rate"]) == ("short", line["group short/win_rate"])
    assert [w.partition(" the win")[0] for w in line["warnings"]] == ["reward hacking: since the start"]
    assert line["kl"] == line["kl_k3"] == 0.0
    assert line["entropy"] > 0
    assert line["length"] == 2
    assert line["gap"] == 0.0
    assert line["proxy/reward"] == pytest.approx((28 * 13 + 2 * 3) / 30)


def test_the_report_shows_rounds_and_warnings(line: dict[str, Any], tmp_path: Path) -> None:
    run = OnlineRun(tmp_path / "run")
    run.write("config.json", {"objective": "rloo", "objective_options": {}, "options": {"model": "m"}})
    run.write("data.json", {"fingerprint": "f00d"})
    for number in (1, 2):
        run.log({"step": number, "round": number, "split": "train", **line})
    text = report(run, out=tmp_path / "page.html").read_text()
    assert text.count("Reward hacking: since the start") == 1
    for name in ("proxy/win_rate", "independent/win_rate", "worst_group/win_rate", "gap", "entropy"):
        assert name in text
    assert run.warnings == line["warnings"]
