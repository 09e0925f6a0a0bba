"""The report page, on run directories written by hand."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import OptionError
from pluralign.evaluate.measures import LAYOUT
from pluralign.report.words import verdict, warnings
from pluralign.train.run import Run


def number(value: float, low: float, high: float, n: int = 400) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": n, "clusters": n // 2, "method": "Wilson, clustered"}


def gap(value: float, low: float, high: float, p: float = 0.031) -> dict[str, Any]:
    return number(value, low, high) | {"ahead": 90, "behind": 62, "p": p}


ACCURACY: dict[str, Any] = {
    "implicit reward": number(0.68, 0.63, 0.72),
    "mean log-ratio": number(0.66, 0.61, 0.7),
    "policy log-prob": number(0.55, 0.50, 0.60),
    "policy mean log-prob": number(0.57, 0.52, 0.62),
    "reference log-prob": number(0.49, 0.44, 0.54),
    "reference mean log-prob": number(0.53, 0.48, 0.58),
    "longer wins": number(0.61, 0.56, 0.66),
    "shorter wins": number(0.39, 0.34, 0.44),
}
DIFFERENCE: dict[str, Any] = {
    "implicit reward - reference log-prob": gap(0.19, 0.13, 0.25),
    "implicit reward - reference mean log-prob": gap(0.15, 0.09, 0.21),
    "implicit reward - longer wins": gap(0.07, 0.01, 0.13, 0.0004),
    "implicit reward - shorter wins": gap(0.29, 0.21, 0.37),
    "policy log-prob - reference log-prob": gap(0.06, 0.02, 0.1),
    "policy mean log-prob - reference mean log-prob": gap(0.04, 0.0, 0.08),
    "policy log-prob - longer wins": gap(-0.06, -0.12, 0.0),
}
DISPLACEMENT: dict[str, Any] = {
    "chosen": number(1.5, 1.0, 2.0),
    "rejected": number(-3.0, -3.5, -2.5),
    "chosen_fell": number(0.3, 0.26, 0.35),
}
FIGURES: dict[str, Any] = {
    "layout": LAYOUT,
    "name": "heldout",
    "kind": "pairs",
    "n": 400,
    "clusters": 200,
    "cluster_by": "prompt",
    "data": {"fingerprint": "f00d", "used": 400, "dropped": {}, "cut": {}, "examples": {}},
    "accuracy": ACCURACY,
    "difference": DIFFERENCE,
    "calibration": {
        "ece": number(0.04, 0.02, 0.07),
        "brier": number(0.21, 0.19, 0.23),
        "log_loss": number(0.61, 0.57, 0.65),
        "table": [
            {"predicted": 0.3, "observed": number(0.28, 0.2, 0.37)},
            {"predicted": 0.7, "observed": number(0.72, 0.63, 0.8)},
        ],
    },
    "margins": {"counts": [100, 300], "edges": [-1.0, 0.0, 1.0], "mean": number(0.4, 0.3, 0.5)},
    "displacement": DISPLACEMENT,
    "difficulty": {"nats": number(4.2, 3.9, 4.5), "mean": number(0.12, 0.1, 0.14)},
    "longer": {
        "people": number(0.61, 0.56, 0.66),
        "reward": number(0.72, 0.67, 0.77),
        "reference": number(0.2, 0.1, 0.3),
    },
    "idealised": {"90% agree": {"accuracy": number(0.77, 0.73, 0.81), "gap": number(0.22, 0.17, 0.27)}},
    "slices": [
        {
            "by": "length",
            "value": "quarter 1 of 4",
            "n": 20,
            "clusters": 10,
            "small": True,
            "accuracy": ACCURACY,
            "difference": DIFFERENCE,
            "displacement": DISPLACEMENT,
        },
        {
            "by": "longer side",
            "value": "of like length",
            "n": 44,
            "clusters": 40,
            "small": False,
            "accuracy": ACCURACY | {"implicit reward": number(0.59, 0.44, 0.72, 44)},
            "difference": DIFFERENCE,
            "displacement": DISPLACEMENT,
        },
    ],
    "slices_left_out": {"annotator": 311},
    "slices_alike": {},
    "pairs": [{"prompt": "<script>alert(1)</script>", "chosen": "a & b", "rejected": "</div>", "margin": 0.3}],
    "generations": {
        "n": 64,
        "max_new_tokens": 128,
        "length": {"policy": number(40, 36, 44, 64), "reference": number(38, 34, 42, 64)},
        "unfinished": {"policy": 0, "reference": 0},
        "kl": number(3.1, 2.5, 3.7, 64),
        "kl_k3": number(3.3, 2.6, 4.1, 64),
        "examples": [{"prompt": "Why?", "policy": "<img src=x onerror=alert(1)>", "reference": "Because."}],
        "win_rate": number(0.6, 0.48, 0.71, 64),
        "outcomes": {"wins": 35, "ties": 7, "losses": 22},
        "slices": [
            {
                "by": "source",
                "value": "forum.csv",
                "n": 31,
                "small": False,
                "length": {"policy": number(41, 36, 44, 31), "reference": number(39, 34, 42, 31)},
                "kl": number(3.1, 2.5, 3.7, 31),
                "win_rate": number(0.581, 0.41, 0.73, 31),
            }
        ],
    },
}


def make_run(folder: Path, figures: dict[str, Any] | None = FIGURES, *, objective: str = "dpo") -> Run:
    run = Run(folder)
    options = {"model": "lab:tiny", "max_length": 512}
    versions = {"python": "3.11", "torch": "2.13.0"}
    run.write(
        "config.json",
        {
            "options": options,
            "objective": objective,
            "objective_options": {"beta": 0.1},
            "equation": "-log sigmoid(beta (h_w - h_l))",
            "training": {"learning_rate": 5e-6, "warmup_steps": 17},
            "versions": versions,
            "command": ["pluralign", "align"],
        },
    )
    part = {"used": 1000, "dropped": {"tie": 3}, "cut": {"response": 2}, "examples": {}}
    run.write("data.json", {"fingerprint": "c0ffee", "split_by": "prompt", "train": part, "eval": part})
    for step in range(1, 6):
        run.log({"step": step, "split": "train", "loss": 0.7 - step / 20, "rewards/accuracies": 0.5 + step / 20})
    run.log({"step": 5, "split": "eval", "loss": 0.5, "rewards/accuracies": 0.68, "kl": 0.2})
    (folder / "model").mkdir()
    if figures is not None:
        run.write("evaluation/heldout.json", figures)
    return run


def words(page: str) -> str:
    """The visible text of the page."""

    class Text(HTMLParser):
        found: list[str]
        silent = False

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.silent = tag == "style"

        def handle_endtag(self, tag: str) -> None:
            self.silent = False

        def handle_data(self, data: str) -> None:
            if not self.silent:
                self.found.append(data)

    parser = Text()
    parser.found = []
    parser.feed(page)
    return re.sub(r"\s+", " ", " ".join(parser.found))


def test_the_page_opens_with_what_the_run_shows(tmp_path):
    page = words(pluralign.report(make_run(tmp_path / "dpo")).read_text())
    opening = page[: page.index("Which response do people prefer?")]
    for said in (
        "68.0% [63.0, 72.0] of 400 held-out pairs",
        "better than chance",
        "+15.0 points [+9.0, +21.0], p = 0.031",
    ):
        assert said in opening
    assert "Always taking the longer response gives 61.0% [56.0, 66.0]" in opening


def test_a_glance_tells_the_gain_over_the_reference_over_length_and_where_length_tells_little(tmp_path):
    page = words(pluralign.report(make_run(tmp_path / "dpo")).read_text())
    glance = page[page.index("At a glance") : page.index("Which response do people prefer?")]
    assert "better +0.150 [+0.090, +0.210] p = 0.031" in glance
    assert "better +0.070 [+0.010, +0.130] p < 0.001" in glance
    assert "0.590 [0.440, 0.720] 44 pairs" in glance
    figures = copy.deepcopy(FIGURES)
    figures["slices"].pop()
    figures["difference"]["implicit reward - longer wins"] = gap(-0.02, -0.06, 0.02, 0.4)
    page = words(pluralign.report(make_run(tmp_path / "other", figures)).read_text())
    glance = page[page.index("At a glance") : page.index("Which response do people prefer?")]
    assert "not told apart -0.020 [-0.060, +0.020] p = 0.400" in glance
    assert "no such pair" in glance


def test_a_claim_about_the_reference_holds_against_its_better_ranking():
    said = verdict(FIGURES)
    assert "53.0%" in said
    assert "49.0%" not in said


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (gap(0.07, 0.01, 0.13), "better than that"),
        (gap(0.02, -0.04, 0.08), "not told apart from that"),
        (gap(-0.07, -0.13, -0.01), "worse than that"),
    ],
)
def test_a_difference_is_called_by_the_side_its_interval_is_on(found, says):
    figures = copy.deepcopy(FIGURES)
    figures["difference"]["implicit reward - longer wins"] = found
    assert says in verdict(figures)
    assert any("liking for long" in text for text in warnings(figures)) == (found["low"] <= 0)


def test_a_claim_about_length_holds_against_its_better_ranking_too():
    figures = copy.deepcopy(FIGURES)
    figures["accuracy"] |= {"longer wins": number(0.4, 0.35, 0.45), "shorter wins": number(0.6, 0.55, 0.65)}
    figures["difference"]["implicit reward - shorter wins"] = gap(0.03, -0.03, 0.09)
    said = verdict(figures)
    assert "the longer response gives 40.0% [35.0, 45.0], the shorter 60.0% [55.0, 65.0]: the run is not told" in said
    assert any("liking for short" in text for text in warnings(figures))


def test_without_an_interval_nothing_is_shown():
    figures = copy.deepcopy(FIGURES)
    unknown = {"low": None, "high": None}
    figures["displacement"]["chosen"] = number(-2.0, 0, 0) | unknown
    for name in figures["difference"]:
        figures["difference"][name] |= unknown
    assert verdict(figures).count("not told apart from that") == 2
    assert not any("displacement" in text for text in warnings(figures))


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(0.51, 0.6, "better than chance"), (0.45, 0.6, "not clear of chance"), (0.3, 0.4, "worse than chance")],
)
def test_chance_is_judged_by_the_interval(low, high, says):
    figures = copy.deepcopy(FIGURES)
    figures["accuracy"]["implicit reward"] = number((low + high) / 2, low, high)
    assert says in verdict(figures)


def test_nothing_is_warned_of_without_cause():
    assert warnings(FIGURES) == []


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("n",), 60, "Few rows: 60 pairs"),
        (("clusters",), 4, "4 by prompt, so intervals are wide, and rough even so"),
        (("displacement", "chosen"), number(-2.0, -3.0, -1.0), "Likelihood displacement"),
        (
            ("displacement", "chosen_fell"),
            number(0.7, 0.6, 0.8),
            "70.0% [60.0, 80.0] of preferred responses became less likely",
        ),
        (("calibration", "ece"), number(0.2, 0.15, 0.25), "no probabilities"),
        (("generations", "length", "policy"), number(80, 70, 90), "grew from 38 [34, 42] to 80 [70, 90] tokens"),
        (("generations", "length", "policy"), number(8, 7, 9), "shrank from 38 [34, 42] to 8 [7, 9] tokens"),
        (("generations", "unfinished", "policy"), 9, "9 of 64 samples were cut off"),
        (("generations", "cut"), 3, "3 of 64 prompts lost their beginning"),
    ],
)
def test_what_should_be_looked_at_twice_is_said(path, value, says):
    figures = copy.deepcopy(FIGURES)
    inner = figures
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    found = warnings(figures)
    assert len(found) == 1
    assert says in found[0]


def test_troubles_of_training_are_said_without_an_evaluation(tmp_path):
    run = make_run(tmp_path / "bad", None)
    (run.path / "model").rmdir()
    run.log({"step": 6, "split": "train", "loss": float("nan")})
    data = run.data
    data["train"]["dropped"] = {"empty-response": 500}
    run.write("data.json", data)
    page = words(pluralign.report(run.path).read_text())
    for said in ("finite number at step 6", "did not come to its end", "500 of 1,500 training rows", "Not evaluated"):
        assert said in page


def test_the_page_needs_nothing_but_itself_and_runs_nobodys_words(tmp_path):
    page = pluralign.report(make_run(tmp_path / "dpo")).read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import|https?://""", re.sub(r"&lt;.*?&gt;", "", page))
    # What models and people wrote is there all the same.
    text = words(page)
    for said in ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a & b", "</div>"):
        assert said in text
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_runs_stand_side_by_side_under_each_prompt(tmp_path):
    other = copy.deepcopy(FIGURES)
    other["pairs"][0]["margin"] = -0.2
    other["generations"]["examples"][0]["policy"] = "Why not."
    page = pluralign.report(make_run(tmp_path / "a"), make_run(tmp_path / "b", other), out=tmp_path / "ab.html")
    text = words(page.read_text())
    assert "preferred (a +0.30, b -0.20) a & b other </div>" in text
    # Both references wrote the same, so it stands there once.
    assert text.count("Because.") == 1
    assert text.index("Because.") < text.index("a writes <img") < text.index("b writes Why not.")


def test_everything_measured_stands_on_the_page(tmp_path):
    text = words(pluralign.report(make_run(tmp_path / "dpo")).read_text())
    for said in (
        *FIGURES["accuracy"],
        *FIGURES["difference"],
        "0.770 [0.730, 0.810] +0.220 [+0.170, +0.270]",  # ideal ranking accuracy and the gap to it
        "400 90 62 +0.070 [+0.010, +0.130] < 0.001",  # ahead, behind, difference, p
        "35 won, 7 tied, 22 lost",
        "Not broken down by annotator: it has 311 values.",
        "0.040 [0.020, 0.070]",  # calibration error
        "3.3 [2.6, 4.1]",  # k3
        "0.600 [0.480, 0.710]",  # win rate
        "quarter 1 of 4 small",
        "forum.csv 31 3.1 [2.5, 3.7] 41.0 [36.0, 44.0] 39.0 [34.0, 42.0] 0.581 [0.410, 0.730]",
        "Because.",
        "c0ffee",
        '"warmup_steps": 17',
        "1,000 used; dropped or cut: 3 tie, 2 response",
    ):
        assert said in text


def scores(run: Run, right: list[bool], rows: list[int] | None = None) -> None:
    """The scores by row that stand beside an evaluation."""
    n = len(right)
    table = {
        "row": rows or list(range(n)),
        "cluster": list(range(n)),
        "reward_chosen": [1.0 if r else -1.0 for r in right],
    }
    (run.path / "evaluation").mkdir(exist_ok=True)
    pl.DataFrame(table | {"reward_rejected": [0.0] * n}).write_parquet(run.path / "evaluation" / "heldout.parquet")


def test_runs_are_compared_pair_by_pair_on_the_rows_that_both_scored(tmp_path):
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    scores(a, [True, False] * 40)
    scores(b, [True] * 60, list(range(60)))
    page = pluralign.report(a, b, out=tmp_path / "ab.html")
    (found,) = json.loads(page.with_suffix(".json").read_text())["against_first"]
    assert (found["who"], found["first"], found["figure"]["n"]) == ("b", "a", 60)
    assert found["figure"]["value"] == pytest.approx(0.5)
    assert 0.3 < found["figure"]["low"] < 0.5 < found["figure"]["high"] < 0.7
    assert "implicit reward: b - a" in words(page.read_text())


def test_runs_on_other_data_are_not_subtracted_from_each_other(tmp_path):
    other = copy.deepcopy(FIGURES)
    other["data"]["fingerprint"] = "beef"
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b", other)
    for run in (a, b):
        scores(run, [True, False] * 40)
    page = pluralign.report(a, b, out=tmp_path / "ab.html")
    assert json.loads(page.with_suffix(".json").read_text())["against_first"] == []


def test_what_is_the_same_for_all_runs_stands_there_once(tmp_path):
    page = pluralign.report(make_run(tmp_path / "a"), make_run(tmp_path / "b"), out=tmp_path / "ab.html")
    table = words(page.read_text())
    table = table[table.index("Which response do people") : table.index("Differences on the same")]
    assert table.count("shorter wins") == 1
    assert table.count("policy mean log-prob") == 2
    assert "all runs" in table


THUMBS: dict[str, Any] = {
    name: value for name, value in FIGURES.items() if name not in ("calibration", "margins", "idealised", "pairs")
} | {
    "kind": "thumbs",
    "good": 190,
    "difference": {name: number(0.05, 0.01, 0.09) | {"p": 0.02} for name in DIFFERENCE},
    "slices": [FIGURES["slices"][0]],
    "slices_alike": {"source": ["praise.csv"]},
}


def test_thumbs_are_spoken_of_as_such(tmp_path):
    page = words(pluralign.report(make_run(tmp_path / "kto", THUMBS, objective="kto")).read_text())
    for said in (
        "ranks a good response above a bad one in 68.0% [63.0, 72.0] of cases (AUC of 400 held-out rows)",
        "400 thumbs",
        "how often a good response is ranked above a bad one",
        "better +0.050 [+0.010, +0.090] p = 0.020",
        "nothing can be ranked, by source: praise.csv",
        "Because.",
    ):
        assert said in page
    assert "Calibration and margins" not in page
    moved = copy.deepcopy(THUMBS)
    moved["displacement"]["chosen_fell"] = number(0.7, 0.6, 0.8)
    assert "70.0% [60.0, 80.0] of good responses became less likely" in warnings(moved)[0]


def test_runs_judged_on_the_same_thumbs_are_compared_by_auc(tmp_path):
    a, b = make_run(tmp_path / "a", THUMBS), make_run(tmp_path / "b", THUMBS)
    good = [True, False] * 20
    for run, reward in ((a, [0.0] * 40), (b, [float(g) for g in good])):
        table = {"row": range(40), "cluster": range(40), "good": good, "reward": reward}
        pl.DataFrame(table).write_parquet(run.path / "evaluation" / "heldout.parquet")
    page = pluralign.report(a, b, out=tmp_path / "ab.html")
    (found,) = json.loads(page.with_suffix(".json").read_text())["against_first"]
    assert found["figure"]["value"] == pytest.approx(0.5)  # from a coin to all right
    assert 0 < found["figure"]["low"] < 0.5
    assert "implicit reward: b - a" in words(page.read_text())


def test_an_evaluation_of_another_layout_is_to_be_made_anew(tmp_path):
    with pytest.raises(OptionError, match="evaluate again"):
        pluralign.report(make_run(tmp_path / "dpo", FIGURES | {"layout": LAYOUT - 1}))


def test_an_evaluation_that_is_not_there_is_told_from_those_that_are(tmp_path):
    page = words(pluralign.report(make_run(tmp_path / "dpo"), evaluation="other").read_text())
    assert "No evaluation is called other; there are: heldout" in page


def test_curves_of_training_and_held_out_rows_are_drawn(tmp_path):
    page = pluralign.report(make_run(tmp_path / "a"), make_run(tmp_path / "b"), out=tmp_path / "r.html").read_text()
    loss = page[page.index("<h3>loss</h3>") : page.index("<h3>rewards/accuracies</h3>")]
    assert re.findall(r'class="s(\d) (\w+)" points', loss) == [
        ("0", "train"),
        ("0", "eval"),
        ("1", "train"),
        ("1", "eval"),
    ]
    # The loss falls, and y runs downwards on a screen.
    points = re.search(r'class="s0 train" points="([^"]+)"', loss)
    assert points
    heights = [float(point.split(",")[1]) for point in points[1].split()]
    assert heights == sorted(heights)
    assert len(heights) == 5


def test_log_probs_of_both_sides_are_drawn_on_one_scale(tmp_path):
    run = make_run(tmp_path / "dpo", None)
    for step, (chosen, rejected) in enumerate([(-40.0, -41.0), (-38.0, -60.0)], start=6):
        run.log({"step": step, "split": "train", "logps/chosen": chosen, "logps/rejected": rejected})
    page = pluralign.report(run).read_text()
    for name in ("chosen", "rejected"):
        _, _, chart = page.partition(f"<h3>logps/{name}</h3>")
        chart = chart[: chart.index("</svg>")]
        assert ">-38</text>" in chart
        assert ">-60</text>" in chart


def test_what_was_not_watched_has_no_empty_chart(tmp_path):
    run = make_run(tmp_path / "online", None)
    for step in (6, 7):
        run.log({"step": step, "split": "train", "proxy/win_rate": 0.5 + step / 100})
    page = pluralign.report(run).read_text()
    assert "<h3>proxy/win_rate</h3>" in page
    assert "<h3>gold/win_rate</h3>" not in page


def test_a_loss_that_broke_leaves_the_rest_of_the_curve(tmp_path):
    run = make_run(tmp_path / "dpo")
    run.log({"step": 6, "split": "train", "loss": float("nan")})
    page = pluralign.report(run).read_text()
    assert not re.search(r'points="[^"]*nan', page)
    assert "finite number at step 6" in page


def test_runs_of_one_folder_name_are_told_apart(tmp_path):
    runs = [make_run(tmp_path / seed / "dpo") for seed in ("seed1", "seed2")]
    page = pluralign.report(*runs, out=tmp_path / "both.html")
    assert list(json.loads(page.with_suffix(".json").read_text())["runs"]) == ["seed1/dpo", "seed2/dpo"]
    assert "seed1/dpo and seed2/dpo" in page.read_text()


def test_runs_measured_on_other_rows_are_not_compared_in_silence(tmp_path):
    other = copy.deepcopy(FIGURES)
    other["data"]["fingerprint"] = "beef"
    a, b, c = make_run(tmp_path / "a"), make_run(tmp_path / "b"), make_run(tmp_path / "c", other)
    assert "evaluated on the same rows" in words(pluralign.report(a, b, out=tmp_path / "ab.html").read_text())
    assert "not the same rows" in words(pluralign.report(a, c, out=tmp_path / "ac.html").read_text())


def test_the_numbers_beside_the_page_are_those_of_the_evaluation(tmp_path):
    page = pluralign.report(make_run(tmp_path / "dpo"))
    assert page == tmp_path / "dpo" / "report.html"
    numbers = json.loads((tmp_path / "dpo" / "report.json").read_text())["runs"]["dpo"]
    assert numbers["figures"] == FIGURES
    assert numbers["config"]["training"]["warmup_steps"] == 17


def test_numbers_that_json_cannot_write_do_not_break_the_file(tmp_path):
    figures = copy.deepcopy(FIGURES)
    figures["generations"]["kl_k3"]["high"] = float("inf")
    page = pluralign.report(make_run(tmp_path / "dpo", figures))

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    numbers = json.loads(page.with_suffix(".json").read_text(), parse_constant=refuse)
    assert numbers["runs"]["dpo"]["figures"]["generations"]["kl_k3"]["high"] is None


def test_an_evaluation_of_another_name_and_one_without_samples(tmp_path):
    run = make_run(tmp_path / "dpo", None)
    other = copy.deepcopy(FIGURES)
    del other["generations"]
    run.write("evaluation/other.json", other)
    assert "no samples drawn" in words(pluralign.report(run, evaluation="other").read_text())


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda run: (run, run), "named twice"),
        (lambda run: (), "at least one run"),
        (lambda run: (run.path / "model",), "no config.json"),
        (lambda run: ((run.path / "metrics.jsonl").write_text('{"step": 1, "lo\n{}\n'), run)[1:], "damaged"),
        (lambda run: ((run.path / "evaluation" / "heldout.json").write_text("{"), run)[1:], "damaged"),
        (lambda run: ((run.path / "config.json").write_text("{"), Run(run.path))[1:], "damaged"),
    ],
)
def test_what_is_no_run_is_refused_in_a_sentence(tmp_path, break_it, says):
    runs = break_it(make_run(tmp_path / "dpo"))
    with pytest.raises(OptionError, match=says):
        pluralign.report(*runs, out=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_page_may_not_take_the_place_of_its_numbers(tmp_path):
    with pytest.raises(OptionError, match=r"\.html"):
        pluralign.report(make_run(tmp_path / "dpo"), out=tmp_path / "report.json")


def test_the_command_says_where_the_page_is(tmp_path):
    make_run(tmp_path / "dpo")
    result = CliRunner().invoke(app, ["report", str(tmp_path / "dpo"), "--out", str(tmp_path / "page.html")])
    assert result.exit_code == 0, result.output
    assert "page.html" in result.output.replace("\n", "")
    assert (tmp_path / "page.json").is_file()


def test_a_report_is_written_without_torch(tmp_path):
    make_run(tmp_path / "dpo")
    code = (
        "import sys, pluralign; pluralign.report(sys.argv[1]);"
        "print([m for m in ('torch', 'transformers', 'matplotlib', 'datasets', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "dpo")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
