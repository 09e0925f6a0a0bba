"""`evaluate` on a small aligned model: what every figure must agree with, and what is refused."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import FeedbackError, OptionError
from pluralign.train.run import Run

KIND = ["thank you dear friend", "with warm regards", "how lovely of you"]
COLD = ["no", "do it yourself please now", "go away from here"]
QUICK: dict[str, Any] = {"max_steps": 20, "pretrain_steps": 25, "learning_rate": 1e-3, "max_length": 64}


def pairs(n: int, seed: int = 0, **columns: Any) -> list[dict[str, Any]]:
    """Kind words are preferred to cold ones."""
    rng = random.Random(seed)
    return [
        {
            "prompt": f"write note {i % (n // 2)} to {rng.choice(['Ann', 'Bob', 'Cy'])}",
            "chosen": rng.choice(KIND),
            "rejected": rng.choice(COLD),
            **columns,
        }
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "dpo"
    return pluralign.align(pairs(120), "lab:tiny", "dpo", output_dir=folder, eval_data=0.4, **QUICK)


@pytest.fixture(scope="module")
def figures(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = pluralign.evaluate(
        run, samples=6, max_new_tokens=8, scorer=lambda prompt, response: len(response)
    ).figures
    return found


@pytest.fixture(scope="module")
def untouched(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run with the reference where the policy should be."""
    folder = tmp_path_factory.mktemp("runs") / "untouched"
    shutil.copytree(run.path, folder)
    shutil.rmtree(folder / "model")
    shutil.copytree(run.path / "reference", folder / "model")
    return Run.open(folder)


def test_a_taste_that_was_learnt_is_seen_clear_of_chance_the_reference_and_length(figures):
    assert figures["accuracy"]["implicit reward"]["low"] > 0.7
    for rival in ("reference log-prob", "reference mean log-prob", "longer wins", "shorter wins"):
        gap = figures["difference"][f"implicit reward - {rival}"]
        assert gap["low"] > 0
        assert gap["p"] < 0.001
    assert figures["displacement"]["rejected"]["high"] < 0


def test_a_model_equal_to_its_reference_has_nothing_to_show(untouched):
    figures = pluralign.evaluate(untouched, samples=5, max_new_tokens=8, scorer=lambda p, r: len(r)).figures
    accuracy = figures["accuracy"]
    assert accuracy["implicit reward"]["value"] == 0.5
    assert accuracy["policy log-prob"] == accuracy["reference log-prob"]
    assert accuracy["policy mean log-prob"] == accuracy["reference mean log-prob"]
    assert figures["displacement"]["chosen"]["value"] == 0
    assert figures["displacement"]["chosen_fell"]["value"] == 0
    assert figures["calibration"]["log_loss"]["value"] == pytest.approx(np.log(2))
    drawn = figures["generations"]
    # The same seed draws the same words, so every comparison is a tie.
    assert drawn["kl"]["value"] == drawn["kl_k3"]["value"] == 0
    assert drawn["win_rate"]["value"] == 0.5
    assert all(e["policy"] == e["reference"] for e in drawn["examples"])


def test_implicit_reward_and_likelihood_are_two_rankings(figures):
    # Chen 2024: a policy may rank every pair right by reward and none by likelihood, so that both are reported.
    assert {"implicit reward", "policy log-prob", "policy mean log-prob"} <= set(figures["accuracy"])


def test_the_rows_beside_the_figures_give_the_figures(run, figures):
    rows = pl.read_parquet(run.path / "evaluation" / "heldout.parquet")
    reward = (rows["reward_chosen"] - rows["reward_rejected"]).to_numpy()
    assert np.mean(reward > 0) == pytest.approx(figures["accuracy"]["implicit reward"]["value"])
    # DPO's implicit reward is beta times the log-ratio.
    beta = run.objective_options["beta"]
    drift = (rows["logp_chosen"] - rows["ref_logp_chosen"]).to_numpy()
    assert rows["reward_chosen"].to_numpy() == pytest.approx(beta * drift, abs=1e-5)
    assert drift.mean() == pytest.approx(figures["displacement"]["chosen"]["value"])
    assert np.mean(drift < 0) == pytest.approx(figures["displacement"]["chosen_fell"]["value"])
    assert len(rows) == figures["n"] == sum(figures["margins"]["counts"])
    assert json.loads((run.path / "evaluation" / "heldout.json").read_text()) == figures


def test_trivial_baselines_complement_each_other(figures):
    accuracy = figures["accuracy"]
    assert accuracy["longer wins"]["value"] + accuracy["shorter wins"]["value"] == pytest.approx(1)


def test_the_same_seed_gives_the_same_figures(run, figures):
    again = pluralign.evaluate(run, name="again", samples=6, max_new_tokens=8, scorer=lambda p, r: len(r)).figures
    assert {**again, "name": "heldout"} == figures


def judged(n: int = 40, *, swapped: bool = False, **more: Any) -> pluralign.Feedback:
    """The same judgements with the preferred response first or second."""
    found = []
    for row in pairs(n, seed=5):
        sides = [row["chosen"], row["rejected"]]
        found.append(
            {
                "prompt": row["prompt"],
                "responses": sides[::-1] if swapped else sides,
                "ranks": [2, 1] if swapped else [1, 2],
                **more,
            }
        )
    return from_rows(found)


def from_rows(rows: list[dict[str, Any]]) -> pluralign.Feedback:
    from pluralign.feedback import Judgement, Response
    from pluralign.feedback.record import text

    return pluralign.Feedback.from_judgements(
        Judgement(
            **{
                **row,
                "prompt": text(row["prompt"]),
                "responses": tuple(Response(text(words)) for words in row["responses"]),
                "ranks": row.get("ranks") and tuple(row["ranks"]),
            }
        )
        for row in rows
    )


def test_the_order_in_which_the_responses_stand_changes_nothing(run):
    given = {"samples": 0, "name": "order"}
    first = pluralign.evaluate(run, judged(), **given).figures
    second = pluralign.evaluate(run, judged(swapped=True), **given).figures
    for part in ("accuracy", "difference", "calibration", "margins", "displacement", "slices"):
        assert first[part] == second[part]
    assert first["pairs"] == second["pairs"]


def test_lengths_and_examples_are_read_from_the_side_that_training_takes(run):
    # Where a chance and a strength disagree, training goes by the chance; so must the baselines.
    soft = [{"ranks": None, "probability": p, "strength": s} for p, s in ((0.8, 1.0), (0.8, -1.0))]
    agreeing, odd = [pluralign.evaluate(run, judged(**columns), samples=0, name="odd").figures for columns in soft]
    for part in ("accuracy", "pairs"):
        assert odd[part] == agreeing[part]


def test_a_chance_of_one_half_is_no_preference(run):
    rows = [{"prompt": r["prompt"], "responses": [r["chosen"], r["rejected"]]} for r in pairs(20, seed=6)]
    half, sure = [{**r, "probability": 0.5} for r in rows[:8]], [{**r, "probability": 0.9} for r in rows[8:]]
    figures = pluralign.evaluate(run, from_rows(half + sure), samples=0, name="soft").figures
    assert figures["n"] == 12
    assert figures["data"]["used"] == 12
    assert figures["data"]["dropped"] == {"tie": 8}
    with pytest.raises(FeedbackError, match="nothing to rank"):
        pluralign.evaluate(run, from_rows(half), samples=0, name="soft")


def test_shown_first_is_a_baseline_only_where_the_places_are_known(run, figures):
    assert "first shown wins" not in figures["accuracy"]
    shown = judged(20, positions=(1, 2)), judged(20, positions=(2, 1)), judged(20, swapped=True, positions=(2, 1))
    values = [pluralign.evaluate(run, f, samples=0, name="shown").figures["accuracy"] for f in shown]
    assert [v["first shown wins"]["value"] for v in values] == [1.0, 0.0, 1.0]


def test_intervals_widen_for_what_rows_share(run):
    from dataclasses import replace

    rows = [replace(j, annotator=f"a{i % 3}", meta={"batch": str(i % 4)}) for i, j in enumerate(judged())]
    feedback = pluralign.Feedback.from_judgements(rows)
    by_annotator = pluralign.evaluate(
        run, feedback, samples=0, name="by", cluster="annotator", slices=["meta.batch"]
    ).figures
    assert (by_annotator["clusters"], by_annotator["cluster_by"]) == (3, "annotator")
    assert {s["by"] for s in by_annotator["slices"]} >= {"length", "annotator", "meta.batch"}
    assert all(s["small"] for s in by_annotator["slices"] if s["by"] == "annotator")
    batches = [s["n"] for s in by_annotator["slices"] if s["by"] == "meta.batch"]
    assert batches == [10, 10, 10, 10]
    by_prompt = pluralign.evaluate(run, feedback, samples=0, name="by").figures["accuracy"]["longer wins"]
    wide = by_annotator["accuracy"]["longer wins"]
    assert wide["value"] == by_prompt["value"]
    assert wide["clusters"] < by_prompt["clusters"]


def test_every_slice_has_every_figure_and_columns_with_too_many_values_are_named(run):
    from dataclasses import replace

    rows = [replace(j, annotator=f"a{i}", criterion="ab"[i % 2]) for i, j in enumerate(judged(60))]
    feedback = pluralign.Feedback.from_judgements(rows)
    figures = pluralign.evaluate(run, feedback, samples=0, name="parts").figures
    assert figures["slices_left_out"] == {"annotator": 60}
    parts = [s for s in figures["slices"] if s["by"] == "criterion"]
    assert [(s["value"], s["n"]) for s in parts] == [("a", 30), ("b", 30)]
    for part in parts:
        for name in ("accuracy", "difference", "displacement"):
            assert part[name].keys() == figures[name].keys()
        assert part["calibration"]["brier"]["n"] == 30
    for rule, whole in figures["accuracy"].items():
        assert np.mean([part["accuracy"][rule]["value"] for part in parts]) == pytest.approx(whole["value"])
    # Within one prompt the prompt is no unit: what is said is said of that prompt.
    one = next(s for s in figures["slices"] if s["by"] == "prompt")
    assert one["n"] == one["clusters"]


def test_samples_are_measured_by_group_where_all_rows_of_a_prompt_agree(run):
    from dataclasses import replace

    rows = [
        replace(
            j,
            source="ab"[i % 2],
            prompt_id=str(i % 20),
            meta={"topic": "xyz"[i % 20 % 3], "seen": str((i // 20 + i) % 2)},
        )
        for i, j in enumerate(judged())
    ]
    # The i-th and the (i+20)-th row share their prompt but for the name in it; make them the same.
    rows = [replace(j, prompt=rows[i % 20].prompt) for i, j in enumerate(rows)]
    drawn = pluralign.evaluate(
        run,
        pluralign.Feedback.from_judgements(rows),
        samples=12,
        max_new_tokens=6,
        name="groups",
        slices=["meta.topic", "meta.seen"],
        scorer=lambda prompt, response: len(response),
    ).figures["generations"]
    found = drawn["slices"]
    # Both values of "seen" occur at every prompt, so that it divides none of them.
    assert {s["by"] for s in found} == {"source", "meta.topic"}
    for by in ("source", "meta.topic"):
        of = [s for s in found if s["by"] == by]
        assert sum(s["n"] for s in of) == drawn["n"] == 12
        for name in ("kl", "kl_k3", "win_rate"):
            assert np.average([s[name]["value"] for s in of], weights=[s["n"] for s in of]) == pytest.approx(
                drawn[name]["value"]
            )
    assert all(s["small"] for s in found)


def test_winning_every_time_proves_no_more_than_the_number_of_prompts(run):
    from pluralign.evaluate.generation import _measure

    ones = np.ones(10)
    found = _measure(np.arange(10), {"policy": ones}, ones, ones)["win_rate"]
    assert found["value"] == found["high"] == 1
    assert found["low"] == pytest.approx(0.7225, abs=1e-4)  # Wilson of ten out of ten


def test_rows_without_a_prompt_share_none(run):
    rows = [{"prompt": "", "responses": [r["chosen"], r["rejected"]], "ranks": [1, 2]} for r in pairs(12)]
    assert pluralign.evaluate(run, from_rows(rows), samples=0, name="bare").figures["clusters"] == 12


def test_soft_labels_say_how_far_an_ideal_policy_would_go(run, figures):
    assert set(figures["idealised"]) == {"60% agree", "75% agree", "90% agree"}
    rows = [
        {"prompt": r["prompt"], "responses": [r["chosen"], r["rejected"]], "probability": p}
        for r, p in zip(pairs(24, seed=7), [0.5001, 1.0] * 12, strict=True)
    ]
    found = pluralign.evaluate(run, from_rows(rows), samples=0, name="ideal").figures["idealised"]["as rows state"]
    scores = pl.read_parquet(run.path / "evaluation" / "ideal.parquet")
    reference = (scores["ref_logp_chosen"] > scores["ref_logp_rejected"]).to_numpy()
    sure = np.array([False, True] * 12)
    assert found["accuracy"]["value"] == pytest.approx(np.where(sure, True, reference).mean(), abs=0.05)


def test_other_rows_do_not_take_the_name_of_the_held_out_ones(run, figures, tmp_path):
    before = (run.path / "evaluation" / "heldout.json").read_text()
    judged(10).write(tmp_path / "new.v2.jsonl")
    assert pluralign.evaluate(run, tmp_path / "new.v2.jsonl", samples=0).path.name == "new.json"
    assert pluralign.evaluate(run, judged(10), samples=0).path.name == "data.json"
    assert (run.path / "evaluation" / "heldout.json").read_text() == before


def test_samples_are_of_the_distribution_that_log_probs_are_of(run):
    from transformers import GenerationConfig

    from pluralign.evaluate.generation import sample

    model, tokenizer = run.load_model()
    prompts = [tokenizer("write note")["input_ids"]] * 4
    plainly = sample(model, tokenizer, prompts, max_new_tokens=8, seed=1)
    # What a model brings along (Qwen has a penalty and a top_k) bends its samples away from its log-probs.
    own = GenerationConfig(repetition_penalty=5.0, top_k=1, min_p=0.9, do_sample=True)
    model.generation_config = own
    assert sample(model, tokenizer, prompts, max_new_tokens=8, seed=1) == plainly
    assert model.generation_config is own


def test_the_divergence_of_samples_is_the_sum_of_token_log_ratios(run, untouched):
    from pluralign.evaluate.generation import _log_ratio, sample

    model, tokenizer = run.load_model()
    reference = run.load_reference()
    prompts = [tokenizer(f"write note {'very ' * i}")["input_ids"] for i in range(5)]
    drawn = sample(model, tokenizer, prompts, max_new_tokens=6, seed=2)
    import torch

    for i, ratio in enumerate(_log_ratio(model, reference, prompts, drawn)):
        ids = torch.tensor([prompts[i] + drawn.tokens[i]])
        expected = 0.0
        with torch.no_grad():
            a, b = (m(ids).logits[0].log_softmax(-1) for m in (model, reference))
        for t in range(len(prompts[i]), ids.shape[1]):
            expected += float(a[t - 1, ids[0, t]] - b[t - 1, ids[0, t]])
        assert ratio == pytest.approx(expected, abs=1e-4)


def test_prompts_beyond_the_window_of_the_model_lose_their_beginning_and_are_counted(run):
    from pluralign.evaluate.generation import compare_samples
    from pluralign.feedback.record import text

    model, tokenizer = run.load_model()
    reference = run.load_reference()
    model.config.max_position_embeddings = 20
    prompts = [text("write"), text("write a note to Ann " * 9)]
    found = compare_samples(model, reference, tokenizer, prompts, scorer=None, max_new_tokens=6, seed=0)
    assert (found["cut"], found["n"]) == (1, 2)
    with pytest.raises(OptionError, match="window of 20"):
        compare_samples(model, reference, tokenizer, prompts, scorer=None, max_new_tokens=20, seed=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "good"])
def test_a_scorer_must_give_numbers(run, value):
    with pytest.raises(OptionError, match="finite number"):
        pluralign.evaluate(run, samples=2, max_new_tokens=2, name="bad", scorer=lambda prompt, response: value)


def test_columns_that_only_training_uses_do_not_stand_in_the_way(run):
    figures = pluralign.evaluate(run, judged(margin=0.7, beta=0.3), samples=0, name="columns").figures
    assert figures["accuracy"] == pluralign.evaluate(run, judged(), samples=0, name="columns").figures["accuracy"]


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"cluster": "nonsense"}, OptionError, "no 'nonsense'"),
        ({"slices": ["nonsense"]}, OptionError, "no 'nonsense'"),
        # An empty column as clusters would call all rows independent.
        ({"cluster": "meta.topc"}, OptionError, "no row has a value for 'meta.topc'"),
        ({"slices": ["annotator"]}, OptionError, "no row has a value for 'annotator'"),
    ],
)
def test_unknown_columns_are_named(run, options, kind, says):
    with pytest.raises(kind, match=says):
        pluralign.evaluate(run, samples=0, name="bad", **options)
    assert not (run.path / "evaluation" / "bad.json").exists()


def test_an_unfinished_run_says_how_to_finish_it(run, tmp_path):
    folder = tmp_path / "half"
    folder.mkdir()
    for name in ("config.json", "data.json", "heldout.parquet", "reference.json"):
        shutil.copy(run.path / name, folder / name)
    with pytest.raises(OptionError, match="--resume"):
        pluralign.evaluate(folder)


def thumbs(n: int) -> list[dict[str, Any]]:
    """Kind words are good, cold ones are bad; one response a prompt."""
    return [
        {"prompt": row["prompt"], "completion": row["chosen" if i % 2 else "rejected"], "label": bool(i % 2)}
        for i, row in enumerate(pairs(n, seed=9))
    ]


@pytest.mark.parametrize("objective", ["kto", "bco"])
def test_runs_on_thumbs_are_judged_on_thumbs(objective, tmp_path):
    rows = [{**row, "topic": "xyz"[i % 3]} for i, row in enumerate(thumbs(120))]
    trained = pluralign.align(
        rows, "lab:tiny", objective, output_dir=tmp_path / objective, eval_data=0.4, **QUICK | {"learning_rate": 2e-3}
    )
    evaluation = pluralign.evaluate(trained, samples=3, max_new_tokens=4, slices=["meta.topic"])
    figures = evaluation.figures
    assert figures["kind"] == "thumbs"
    assert f"{figures['n']} held-out thumbs" in str(evaluation)
    assert "AUC, implicit reward: " in str(evaluation)
    scores = pl.read_parquet(trained.path / "evaluation" / "heldout.parquet")
    good, bad = (scores.filter(pl.col("good") == side)["reward"].to_numpy() for side in (True, False))
    assert figures["good"] == len(good)
    counted = np.mean([np.sign(g - b) / 2 + 0.5 for g in good for b in bad])
    ours = figures["accuracy"]["implicit reward"]
    assert ours["value"] == pytest.approx(counted)
    assert ours["low"] > 0.7
    assert figures["displacement"]["chosen"]["low"] > figures["displacement"]["rejected"]["high"]
    assert figures["generations"]["n"] == 3
    assert {s["value"] for s in figures["slices"] if s["by"] == "meta.topic"} == set("xyz")
    assert pluralign.report(trained).is_file()


def test_slices_of_thumbs_that_all_point_one_way_are_named(run):
    rows = [{**row, "topic": "praise" if row["label"] else "xy"[i % 4 // 2]} for i, row in enumerate(thumbs(40))]
    rows[0]["topic"] = "praise"
    figures = pluralign.evaluate(run, rows, samples=0, name="topics", slices=["meta.topic"]).figures
    assert [s["value"] for s in figures["slices"] if s["by"] == "meta.topic"] == ["praise"]
    assert figures["slices_alike"]["meta.topic"] == ["x", "y"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"prompt": f"write {i}", "completion": f"thanks {i}", "label": True} for i in range(3)], "same way"),
        ([{"prompt": f"write {i}", "completion": f"thanks {i}"} for i in range(3)], "3 texts; give it pairs"),
    ],
)
def test_feedback_that_ranks_nothing_is_refused_in_a_sentence(run, rows, says):
    with pytest.raises(FeedbackError, match=says):
        pluralign.evaluate(run, rows, samples=0, name="bad")


@pytest.mark.parametrize("objective", ["simpo", "kto"])
def test_each_objective_is_judged_by_its_own_reward(objective, tmp_path):
    trained = pluralign.align(
        pairs(60), "lab:tiny", objective, output_dir=tmp_path / objective, eval_data=0.4, **QUICK | {"max_steps": 6}
    )
    figures = pluralign.evaluate(trained, samples=0).figures
    rows = pl.read_parquet(trained.path / "evaluation" / "heldout.parquet")
    beta = trained.objective_options["beta"]
    if objective == "simpo":
        expected = beta * rows["logp_chosen"] / rows["length_chosen"]
        assert figures["accuracy"]["implicit reward"] == figures["accuracy"]["policy mean log-prob"]
    else:
        expected = beta * (rows["logp_chosen"] - rows["ref_logp_chosen"])
    assert rows["reward_chosen"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-4)


def test_the_command_prints_intervals_and_writes_the_file(run):
    given = [
        "evaluate",
        str(run.path),
        "--name",
        "cli",
        "--samples",
        "3",
        "--max-new-tokens",
        "4",
        "--scorer",
        "length",
    ]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "accuracy, implicit reward: " in result.output
    assert "win_rate of samples" in result.output
    assert Path(run.path / "evaluation" / "cli.json").is_file()


@pytest.mark.parametrize("name", ["nocolon", "no_such_module:f", "math:no_such_function"])
def test_a_scorer_that_is_not_there_is_named(name):
    from pluralign.evaluate.scorers import load_function

    with pytest.raises(OptionError, match="--scorer"):
        load_function(name)
