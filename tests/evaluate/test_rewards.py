"""Rewards measured: RewardBench's sections, over-optimisation, people seen and not, the human ceiling."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import FeedbackError, OptionError
from pluralign.evaluate.overoptimisation import best_of_n, best_of_n_kl, draw, overoptimisation
from pluralign.evaluate.people import by_answers, of_people, right
from pluralign.evaluate.rewardbench import SECTIONS, best_of_four, compared, rewardbench, ties_score
from pluralign.evaluate.rewards import CROWD, REWARD, ceiling, evaluate_reward, temperature
from pluralign.feedback.recipes import words
from pluralign.lab import people
from pluralign.models import Answers, LowRank, PreferenceModel


def test_kl_of_the_best_of_n_has_the_figures_of_its_card() -> None:
    np.testing.assert_allclose(best_of_n_kl([1, 2, 4, 16, 64]), [0, 0.193147, 0.636294, 1.835089, 3.174508], atol=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_best_of_n_is_the_mean_over_all_subsets(ties: bool) -> None:
    random = np.random.default_rng(0)
    proxy, gold = random.normal(size=(2, 12))
    proxy = np.round(proxy) if ties else proxy
    brute = []
    for subset in combinations(range(12), 4):
        some = np.array(subset)
        best = some[proxy[some] == proxy[some].max()]  # drawn among equals
        brute.append(gold[best].mean())
    assert best_of_n(proxy, gold, 4)[0] == pytest.approx(np.mean(brute), abs=1e-12)
    assert best_of_n(proxy, gold, 1)[0] == pytest.approx(gold.mean())
    assert best_of_n(proxy, proxy, 12)[0] == pytest.approx(proxy.max())
    with pytest.raises(OptionError, match="as many samples"):
        best_of_n(proxy, gold, 13)


def test_gold_turns_down_with_noise_and_an_ensemble_delays_it() -> None:
    """A proxy with heavy tails finds its own errors: beta grows with them, and the minimum of several finds fewer."""
    random, sizes = np.random.default_rng(1), (1, 2, 4, 8, 16, 32, 64, 128, 256)
    gold = random.normal(size=(300, 256))
    noise = random.standard_t(2, size=(5, 300, 256))
    curves = [overoptimisation(gold + scale * noise[0], gold, sizes) for scale in (0.0, 0.5, 1.0)]
    assert curves[0].beta < 0.02 < curves[2].beta
    # Noise takes from alpha as well, so what grows is how early gold turns down, not beta alone.
    assert curves[0].beta / curves[0].alpha < curves[1].beta / curves[1].alpha < curves[2].beta / curves[2].alpha
    # Normal noise only slows the climb: gold is then a fixed share of the proxy at every n.
    normal = overoptimisation(gold + random.normal(size=gold.shape), gold, sizes)
    assert normal.beta < 0.02
    assert normal.alpha < 0.8 * curves[0].alpha
    least = overoptimisation((gold + noise).min(0), gold, sizes)
    assert least.points["gold"].max() > curves[2].points["gold"].max()  # type: ignore[operator]
    assert curves[2].peak is not None
    # One error that all members share is not averaged away.
    shared = overoptimisation(np.min([gold + noise[0]] * 5, axis=0), gold, sizes)
    assert shared.points["gold"].to_list() == pytest.approx(curves[2].points["gold"].to_list())
    assert len(draw({"one": curves[2], "least": least}).axes[0].lines) >= 4


def test_a_random_scorer_has_half_of_every_section_and_a_quarter_of_best_of_four() -> None:
    random = np.random.default_rng(2)
    names = [name for of in SECTIONS.values() for name, n in of.items() for _ in range(max(n, 300))]
    chosen, rejected = random.normal(size=(2, len(names)))
    found = rewardbench(chosen, rejected, names)
    sections = found.table.filter(found.table["kind"] != "subset")
    # Of six 95% intervals one may miss.
    assert ((sections["low"] < 0.5) & (sections["high"] > 0.5)).sum() >= 5
    assert found.total == pytest.approx(0.5, abs=0.02)
    assert best_of_four(random.normal(size=(20_000, 4))).mean() == pytest.approx(0.25, abs=0.01)
    assert rewardbench(chosen, chosen, names).total == 0  # equal scores count as wrong


def test_sections_are_weighted_means_and_prior_sets_count_half() -> None:
    names = [name for of in SECTIONS.values() for name in of]
    reasoning, prior = SECTIONS["Reasoning"], SECTIONS["Prior Sets"]
    good = [1.0 if n == "math-prm" or n in prior else 0.0 for n in names]
    found = rewardbench(good, np.zeros(len(names)), names)
    table = dict(zip(found.table["name"], found.table["accuracy"], strict=True))
    assert table["Reasoning"] == pytest.approx(984 / sum(reasoning.values())) == pytest.approx(0.5)
    assert found.total == pytest.approx((2 * 0.5 + 1 * 1.0) / 9)
    partial = rewardbench([1.0], [0.0], ["math-prm"])
    assert partial.total == 1.0
    assert "hep-cpp" in partial.missing
    with pytest.raises(FeedbackError, match="no section"):
        rewardbench([1.0], [0.0], ["colour"])


def test_paired_tests_look_at_the_same_pairs() -> None:
    ours, theirs = np.ones(30), np.concatenate([-np.ones(8), np.ones(22)])
    table = compared(ours, theirs, ["a"] * 8 + ["b"] * 22)
    assert table["p"].to_list() == pytest.approx([2 / 2**8, 1.0, 2 / 2**8])
    assert table["value"].to_list() == pytest.approx([1.0, 0.0, 8 / 30])


def test_ties_need_a_gap_larger_than_the_spread_of_right_answers() -> None:
    close, wide = ([3.0, 2.9, 2.8], [0.0]), ([3.0, 0.1], [0.0])
    one = ([2.0], [0.0])
    assert ties_score([close], [one])["score"] == pytest.approx(1.01, abs=1e-4)
    half = ties_score([wide], [one])
    assert (half["tied"], half["larger"], half["larger_both"]) == (1.0, 0.0, 0.0)
    assert 0.58 < half["score"] < 0.61


def test_margins_twice_too_large_have_temperature_two() -> None:
    random = np.random.default_rng(3)
    margin = random.normal(size=40_000) * 2
    signed = np.where(random.random(40_000) < expit(margin), margin, -margin)
    assert temperature(2 * signed) == pytest.approx(2.0, abs=0.1)
    assert temperature(signed) == pytest.approx(1.0, abs=0.05)
    assert temperature(np.zeros(3)) is None
    assert temperature(np.ones(5)) is None


def test_the_ceiling_is_how_often_people_agree() -> None:
    def vote(who: str, a: bool) -> dict[str, str]:
        chosen, rejected = ("x", "y") if a else ("y", "x")
        return {"prompt": "q", "chosen": chosen, "rejected": rejected, "annotator": who}

    found = ceiling([vote("ada", True), vote("ben", True), vote("cid", False)])
    assert found["pairs"] == 1
    assert found["majority"]["value"] == pytest.approx(2 / 3)
    assert found["others"]["value"] == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert ceiling([vote("ada", True)]) == {}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreferenceModel, pluralign.Feedback, Path]:
    feedback = people.simulate(1200, people=12, share=0.5, seed=1)
    train, held_out = feedback.split(0.3, by="prompt", seed=0)
    model = pluralign.fit(train, "low-rank", 2, words, null=0, weight_decay=0.05, restarts=2)
    folder = tmp_path_factory.mktemp("model")
    model.save(folder)
    return model, held_out, folder


def test_a_model_of_people_beats_that_of_their_mean_and_every_part_is_told(world: tuple) -> None:  # type: ignore[type-arg]
    model, held_out, _ = world
    flat = {"flat": lambda prompt, texts: [0.0] * len(texts)}
    figures = evaluate_reward(model, held_out, slices=["annotator_attributes"], against=flat).figures
    gap = figures["difference"][f"{REWARD} - {CROWD}"]
    assert gap["low"] > 0
    assert gap["p"] < 0.05
    assert figures["accuracy"]["flat"]["value"] == 0.5
    assert figures["worst"]["length"]["value"] <= figures["accuracy"][REWARD]["value"]
    assert {s["by"] for s in figures["slices"]} >= {"annotator", "length", "longer side"}
    assert figures["calibration"]["table"]


def test_what_a_reward_owes_to_length_is_seen(world: tuple) -> None:  # type: ignore[type-arg]
    _, held_out, _ = world
    figures = pluralign.evaluate(lambda prompt, texts: [len(t) for t in texts], held_out).figures
    assert figures["longer"]["reward"]["value"] == 1.0
    assert figures["difference"][f"{REWARD} - longer wins"]["value"] == 0


def test_a_saved_model_is_evaluated_from_the_command_line(world: tuple, tmp_path: Path) -> None:  # type: ignore[type-arg]
    rows = [{"left": a, "right": b, "winner": w, "judge": j} for a, b in combinations("abcd", 2)
            for w, j in (("left", "ada"), ("right", "ben")) for _ in range(3)]  # fmt: skip
    judged = [{"prompt": "", "chosen": r["left"] if r["winner"] == "left" else r["right"],
               "rejected": r["right"] if r["winner"] == "left" else r["left"], "annotator": r["judge"]}
              for r in rows]  # fmt: skip
    file = tmp_path / "held.jsonl"
    file.write_text("\n".join(map(json.dumps, judged)) + "\n")
    model = pluralign.fit(file, "low-rank", 2, "items", null=0, lr=0.2)
    model.save(tmp_path / "model")
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path / "model"), str(file)])
    assert done.exit_code == 0, done.output
    assert "accuracy, reward: 1.000" in done.output
    figures = json.loads((tmp_path / "model" / "evaluation" / "held.json").read_text())
    assert figures["strict"]["value"] == 1.0
    with pytest.raises(FeedbackError, match="holds no rows out"):
        pluralign.evaluate(model)


def test_people_not_seen_are_foretold_better_the_more_they_say() -> None:
    random = np.random.default_rng(4)
    taste = np.array([[3.0, 0.0], [-3.0, 0.0]])

    def answers(names: range, each: int) -> Answers:
        who = np.repeat(np.array(names), each)
        left, right_side = random.normal(size=(2, len(who), 2))
        z = ((left - right_side) * taste[who % 2]).sum(1)
        return Answers.of(left, right_side, (z > 0).astype(float), [f"p{i:02d}" for i in who])

    model = PreferenceModel(LowRank(2, 2), epochs=60, lr=0.1).fit(answers(range(20), 40))
    new = answers(range(20, 60), 30)
    table = by_answers(model, new, (0, 1, 5, 20), repeats=2)
    accuracy = table["accuracy"].to_list()
    assert accuracy[0] < 0.7 < 0.85 < accuracy[2] <= accuracy[3] + 0.02
    assert table["gain_low"][3] > 0.2
    assert table["people"].to_list() == [40] * 4
    values, who = right(model, new, model.localise(new).weights)
    assert of_people(values, who).value > 0.9
    with pytest.raises(FeedbackError, match="more than 30"):
        by_answers(model, new, (1, 30))
