"""Methods that work on data; test names begin with the card's key."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import FeedbackError
from pluralign.feedback import Feedback, Judgement, Message, Response, plain, text
from pluralign.feedback.recipes import (
    bco_match,
    crpo,
    curry_dpo,
    ddpo,
    degraded,
    deviation_weights,
    key_phrases,
    mapl,
    ra_dpo,
    rise,
    selective_dpo,
    sem_dpo,
)
from pluralign.feedback.recipes.constrained import constraints


def rated(*values: float, prompt: str = "?", aspect: str = "overall") -> Judgement:
    return Judgement(
        text(prompt), tuple(Response(text(f"answer {i}"), ratings={aspect: v}) for i, v in enumerate(values))
    )


def pairs(n: int = 6, **rest: object) -> Feedback:
    rows = [
        {"prompt": f"Add {i} and 3.", "chosen": f"{i} + 3 = {i + 3}, so {i + 3}.", "rejected": "No, 9."}
        for i in range(n)
    ]
    return pluralign.read([row | rest for row in rows])


def said(j: Judgement, place: int = 0) -> str:
    return plain(j.responses[place].messages)


def weights_of(feedback: Feedback) -> np.ndarray:
    return feedback.table["weight"].to_numpy()


# --- ra_dpo ---


def test_ra_dpo_doubles_and_swaps_and_without_its_goals_is_the_data() -> None:
    feedback = Feedback.from_judgements([rated(8, 3), rated(2, 5), rated(4, 4)])
    made = list(ra_dpo(feedback, text="{score:g}|"))
    assert len(made) == 4
    for high, low in zip(made[::2], made[1::2], strict=True):
        assert [said(low, 0), said(low, 1)] == [said(high, 1), said(high, 0)]
        assert high.ranks == low.ranks == (1, 2)
    plain_rows = [(said(j), said(j, 1)) for j in made[::2]]
    assert plain_rows == [("answer 0", "answer 1"), ("answer 1", "answer 0")]
    assert [plain(j.prompt).partition("|")[0] for j in made] == ["8", "3", "5", "2"]
    assert ra_dpo(feedback).history[-1]["left_out"] == {"rated alike": 1}


def test_ra_dpo_policy_follows_the_score_it_is_asked_for() -> None:
    """Tabular: gradient steps of dpo on the rows of each goal; the mean rating rises with the goal."""
    ratings = np.arange(1.0, 6.0)
    every = [rated(a, b) for a in ratings for b in ratings if a < b]
    policy = {g: np.zeros(5) for g in ratings}
    made = [
        (float(plain(j.prompt).partition("|")[0]), j)
        for j in ra_dpo(Feedback.from_judgements(every), text="{score:g}|")
    ]
    for _ in range(50):
        for goal, j in made:
            better, worse = (int(r.ratings["overall"]) - 1 for r in j.responses)
            slope = 1 / (1 + np.exp(0.5 * (policy[goal][better] - policy[goal][worse])))
            policy[goal][better] += 0.2 * slope
            policy[goal][worse] -= 0.2 * slope
    means = [float(np.exp(t) @ ratings / np.exp(t).sum()) for t in policy.values()]
    assert (np.diff(means) > 0.3).all()


def test_ra_dpo_places_its_goal_in_chats() -> None:
    chat = (Message("Hello", "user"),)
    pair = (
        Response((Message("a", "assistant"),), ratings={"q": 1}),
        Response((Message("b", "assistant"),), ratings={"q": 2}),
    )
    with_system = (Message("Be kind.", "system"), *chat)
    for prompt, place, roles, start in (
        (chat, "system", ["system", "user"], "2!"),
        (with_system, "system", ["system", "user"], "2!\n\nBe kind."),
        (chat, "first turn", ["user"], "2!\n\nHello"),
    ):
        first = next(iter(ra_dpo(Feedback.from_judgements([Judgement(prompt, pair)]), text="{score:g}!", place=place)))
        assert [m.role for m in first.prompt] == roles
        assert first.prompt[0].content == start


def test_ra_dpo_asks_for_a_score_and_for_one_aspect() -> None:
    two = Judgement(text("?"), tuple(Response(text(t), ratings={"a": 1, "b": i}) for i, t in enumerate("xy")))
    with pytest.raises(FeedbackError, match="rated on a, b; say which is meant"):
        ra_dpo(Feedback.from_judgements([two]))
    with pytest.raises(FeedbackError, match=r"names no \{score\}"):
        ra_dpo(Feedback.from_judgements([two]), text="do well")


# --- curry_dpo ---


def test_curry_dpo_gaps_shrink_from_round_to_round() -> None:
    rng = np.random.default_rng(0)
    feedback = Feedback.from_judgements([rated(*rng.permutation([1.0, 3.0, 6.0, 10.0])) for _ in range(20)])
    rounds = curry_dpo(feedback)
    gaps = [[j.responses[0].ratings["overall"] - j.responses[1].ratings["overall"] for j in part] for part in rounds]
    assert [set(gap) for gap in gaps] == [{9.0}, {7.0}, {4.0}]


def test_curry_dpo_skips_ties_and_one_round_is_best_against_worst() -> None:
    feedback = Feedback.from_judgements([rated(5, 5, 2), rated(1, 1)])
    (only,) = curry_dpo(feedback, rounds=1)
    assert [(said(j), said(j, 1)) for j in only] == [("answer 0", "answer 2")]
    second = curry_dpo(feedback, rounds=2)[1]
    assert len(second) == 0
    assert second.history[-1]["left_out"] == {"fewer responses": 2}


# --- selective_dpo, ches filter ---


def test_selective_dpo_of_all_rows_in_their_order_is_the_data() -> None:
    feedback = pairs()
    values = np.random.default_rng(0).normal(size=6)
    assert selective_dpo(feedback, values, keep=1, ordered=False).table.equals(feedback.table)
    kept = selective_dpo(feedback, values, keep=0.5)
    assert [said(j) for j in kept] == [said(feedback[int(i)]) for i in np.argsort(values)[:3]]


def test_selective_dpo_says_what_it_left_out() -> None:
    step = selective_dpo(pairs(), np.array([1, 2, 3, np.nan, 5, 6.0]), keep=0.4).history[-1]
    assert (step["rows_in"], step["rows_out"], step["unknown"], step["bound"]) == (6, 2, 1, 2.0)
    with pytest.raises(FeedbackError, match=r"shape \(5,\), and there are 6 rows"):
        selective_dpo(pairs(), np.zeros(5))


# --- rise ---


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_rise_edits_one_span_and_keeps_the_rest(seed: int) -> None:
    feedback = pairs(4)
    made = list(rise(feedback, seed=seed))
    edited = [j for j in made if j.meta.get("edited")]
    assert [j for j in made if not j.meta.get("edited")] == list(feedback)
    assert edited
    for j in edited:
        good, bad = said(j), said(j, 1)
        assert good != bad
        assert re.sub(r"\d+", "#", good) == re.sub(r"\d+", "#", bad)
        assert sum(a != b for a, b in zip(re.findall(r"\d+", good), re.findall(r"\d+", bad), strict=True)) == 1


def test_rise_drops_edits_that_change_nothing_or_give_themselves_away() -> None:
    feedback = pairs(3)
    for rewrite in (lambda p, steps, i, d: steps[i], lambda p, steps, i, d: "This is a mistake."):
        made = rise(feedback, rewrite=rewrite)
        assert made.table.equals(feedback.table)
        assert made.history[-1]["left_out"] == {"no usable edit": 3}


# --- mapl ---


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_mapl_checkers_agree_with_every_label(seed: int) -> None:
    for j in mapl(pairs(4), seed=seed):
        assert j.prompt == ()
        good, other = (r.messages for r in j.responses)
        assert good[-1] == other[-1]  # one response
        answer = good[-1].content or ""
        known: dict[str, bool] = {}
        for trial in range(100):  # every border of length the recipe may have drawn
            known |= {c.words: c.check(answer) for c in constraints(answer, "No, 9.", np.random.default_rng(trial))}
        assert all(known[words] for words in j.meta["satisfied"])
        assert not all(known[words] for words in j.meta["violated"])
        for words in j.meta["satisfied"]:
            assert words in (good[0].content or "")


def test_mapl_inter_puts_one_pair_under_two_prompts() -> None:
    made = list(mapl(pairs(5), kind="inter"))
    assert made
    for j in made:
        first, second, third, fourth = j.responses
        assert (first.messages[-1], second.messages[-1]) == (third.messages[-1], fourth.messages[-1])
        assert first.messages[:-1] == second.messages[:-1] != third.messages[:-1] == fourth.messages[:-1]
        assert j.ranks == (1, 2, 3, 4)


# --- sem_dpo, ddpo, crpo, bco ---


def axes(texts: list[str]) -> np.ndarray:
    """Each text is an angle in degrees, its first number."""
    angle = np.radians([float(re.findall(r"\d+", t)[0]) for t in texts])
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def test_sem_dpo_weights_fall_with_distance() -> None:
    feedback = pluralign.read([{"prompt": "0", "chosen": str(a), "rejected": "77"} for a in (0, 30, 60, 90)])
    found = weights_of(sem_dpo(feedback, alpha=0.7, embed=axes))
    assert found == pytest.approx(np.exp(-0.7 * (1 - np.cos(np.radians([0, 30, 60, 90])))))
    assert (np.diff(found) < 0).all()
    assert found[-1] == pytest.approx(np.exp(-0.7))
    assert (weights_of(sem_dpo(feedback, alpha=0, embed=axes)) == 1).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 6))
def test_ddpo_weights_average_to_one(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    found = deviation_weights([rng.normal(size=(n, 4)), rng.normal(size=(n, 3))])
    assert found.mean() == pytest.approx(1)
    assert (found >= 0).all()


def test_ddpo_duplicates_weigh_little_and_equals_one() -> None:
    near = np.array([[1, 0], [0.999, 0.01], [1, 0.01], [0, 1.0]])
    found = deviation_weights([near])
    assert found[:3].max() < 0.1 < found[3]
    assert deviation_weights([np.eye(5)]) == pytest.approx(np.ones(5))


def test_ddpo_teaches_the_rare_mode_of_two() -> None:
    """Ten answers of equal worth, nine of one kind: a few steps of weighted dpo move mass to the tenth."""
    rows = [
        {"prompt": "?", "chosen": f"{a} {i}", "rejected": f"{b} {j}"}
        for i, a in enumerate([10] * 9 + [80]) for j, b in enumerate([10] * 9 + [80]) if i != j
    ]  # fmt: skip
    feedback = ddpo(pluralign.read(rows), embeds=[lambda texts: axes([t.split()[0] for t in texts])])
    weight = {(int(said(j).split()[1]), int(said(j, 1).split()[1])): j.weight for j in feedback}
    theta = np.zeros(10)
    for _ in range(10):
        slope = np.zeros(10)
        for (i, j), w in weight.items():
            pull = w / (1 + np.exp(theta[i] - theta[j]))
            slope[i] += pull
            slope[j] -= pull
        theta += 0.02 * slope
    share = np.exp(theta) / np.exp(theta).sum()
    pairwise = 1 - (share[:9].sum() ** 2 + share[9] ** 2)
    assert share[9] > 0.3
    assert pairwise > 2 * (1 - (0.9**2 + 0.1**2))


def test_crpo_gains() -> None:
    rows = [{"prompt": "?", "chosen": a, "rejected": b} for a, b in (("3 0", "1 4"), ("1 1", "3 2"), ("4 4", "2 0"))]
    feedback = pluralign.read(rows)
    signals = {"novelty": lambda _, r: float(r.split()[0]), "surprise": lambda _, r: float(r.split()[1])}
    add = weights_of(crpo(feedback, signals, weights={"surprise": 0.5}))
    assert add == pytest.approx([2 / 3, 0, 2 / 3 + 0.5])  # worse in all that counts: exactly 0
    product = weights_of(crpo(feedback, signals, combine="multiply"))
    assert product == pytest.approx([0, 0, 2 / 3])
    none = weights_of(crpo(feedback, signals, weights={"novelty": 0, "surprise": 0}))
    assert (none == 1).all()


def test_bco_match_of_like_prompts_is_close_to_one_and_of_unlike_ones_is_not() -> None:
    rng = np.random.default_rng(0)

    def thumbs(kinds_of_good: tuple[str, ...], kinds_of_bad: tuple[str, ...]) -> Feedback:
        rows = []
        for i in range(400):
            good = i % 4 != 0  # three times as many good ones: sizes are no property of a prompt
            kind = str(rng.choice(kinds_of_good if good else kinds_of_bad))
            rows.append(Judgement(text(kind), (Response(text("a")),), thumb=good))
        return Feedback.from_judgements(rows)

    same = bco_match(thumbs(("poem", "code"), ("poem", "code")))
    assert weights_of(same) == pytest.approx(1, abs=0.25)
    unlike = thumbs(("poem", "poem", "poem", "code"), ("poem", "code", "code", "code"))
    found = bco_match(unlike)
    by_kind = {
        kind: np.mean([j.weight for j in found if not j.thumb and plain(j.prompt) == kind]) for kind in ("poem", "code")
    }
    assert by_kind["poem"] > 2 and by_kind["code"] == 0.5  # noqa: PT018
    assert all(j.weight == 1 for j in found if j.thumb)
    with pytest.raises(FeedbackError, match="thumbs of both kinds"):
        bco_match(pairs())


def test_weights_multiply_those_that_rows_have() -> None:
    feedback = pairs(2, weight=3.0)
    assert weights_of(sem_dpo(feedback, alpha=0)).tolist() == [3.0, 3.0]


# --- spo_selfsup ---


def test_spo_selfsup_takes_out_more_phrases_the_higher_the_degree() -> None:
    whole = text("The old lighthouse keeper watched a violent winter storm and wrote long letters to his sister.")
    lengths = [len(plain(degraded(whole, c, 4))) for c in range(4)]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == 4
    assert degraded(whole, 0, 4) == whole
    for phrase in key_phrases(plain(whole))[:2]:
        assert phrase not in plain(degraded(whole, 3, 4)).lower()


# --- on people's feedback ---


def test_recipes_lose_no_row_of_real_pairs(shared_data: Path) -> None:
    feedback = pluralign.read(str(shared_data / "alpaca_eval"))[:80]
    for recipe in (sem_dpo, ddpo):
        made = recipe(feedback)
        assert len(made) == 80
        assert np.isfinite(weights_of(made)).all()
    for recipe in (rise, mapl):
        step = recipe(feedback).history[-1]
        assert step["rows_in"] == 80
        assert step["rows_out"] + sum(step["left_out"].values()) == (160 if recipe is rise else 80)
        assert step["rows_out"] > 40
        json.dumps(step)


# --- the command ---


def test_recipes_as_a_command(tmp_path: Path) -> None:
    runner, source = CliRunner(), tmp_path / "rows.parquet"
    Feedback.from_judgements([rated(8, 3, 5), rated(2, 6, 1)]).pairs().write(source)
    done = runner.invoke(
        app, ["recipe", "ra_dpo", str(source), str(tmp_path / "asked.parquet"), "--text", "{score:g}!"]
    )
    assert done.exit_code == 0, done.output
    assert len(pluralign.read(tmp_path / "asked.parquet")) == 12
    lists = tmp_path / "lists.parquet"
    Feedback.from_judgements([rated(8, 3, 5), rated(2, 6, 1)]).write(lists)
    done = runner.invoke(app, ["recipe", "curry_dpo", str(lists), str(tmp_path / "part.parquet"), "--rounds", "2"])
    assert [len(pluralign.read(tmp_path / f"{n}-part.parquet")) for n in (1, 2)] == [2, 2], done.output
    scored = tmp_path / "scored.parquet"
    Feedback.from_judgements(replace(j, meta={"hard": i}) for i, j in enumerate(pairs())).write(scored)
    done = runner.invoke(
        app,
        [
            "recipe",
            "selective_dpo",
            str(scored),
            str(tmp_path / "easy.parquet"),
            "--values",
            "meta.hard",
            "--keep",
            "0.5",
        ],
    )
    assert [j.meta["hard"] for j in pluralign.read(tmp_path / "easy.parquet")] == [0, 1, 2], done.output
    assert "The share `keep` of rows" in runner.invoke(app, ["recipe", "selective_dpo", "--help"]).output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bake", "a", "b"], "there is no recipe 'bake'"),
        (["rise", "a", "b", "--steps", "2"], "rise has no option steps; it has rewrite, edits, tries, seed"),
        (["rise"], "say what rise reads"),
    ],
)
def test_recipes_refuse_in_a_sentence(words: list[str], message: str) -> None:
    error = CliRunner().invoke(app, ["recipe", *words]).exception
    assert message in str(error)
