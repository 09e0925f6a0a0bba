"""Samplers draw from the laws they declare."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from dice import REFERENCE, Die, prompts
from scipy.stats import chisquare

from pluralign.errors import OptionError
from pluralign.feedback import Feedback
from pluralign.feedback.record import Judgement, Response, text
from pluralign.online.drawn import Law, collect, seeds_of
from pluralign.online.judges import Matrix, Recorded, Scored
from pluralign.online.samplers import BestAndWorst, Mixer, PolicySampler, Recalled, Together, scores
from pluralign.policy.generate import Writer
from tests.tiny_models import tiny, tokenizer

SETTINGS = {"max_new_tokens": 6, "temperature": 1.0}
WORDS = [text("Why is the sky blue?"), text("Write a short note"), text("2 + 2")]
FACE = Scored(lambda prompt, face: float(face), name="face")


@pytest.fixture(scope="module")
def models():
    return {"previous": tiny("llama").double(), "reference": tiny("llama", seed=1).double()}


def sampler(models, law, count=3, settings=SETTINGS, **more):
    return PolicySampler(models, tokenizer(), law, count, settings, **more)


@pytest.mark.parametrize(
    ("law", "settings"),
    [
        ({"previous": 1.0}, {}),
        ({"previous": 0.75, "reference": 0.25}, {"temperature": 0.7}),
        ({"reference": 1.0}, {"temperature": 1.3, "top_p": 0.8, "top_k": 20}),
        ({"previous": 1.0}, {"temperature": 0.0}),
    ],
    ids=str,
)
def test_samples_carry_the_log_probs_of_the_law_they_declare(models, law, settings):
    one = sampler(models, law, settings=SETTINGS | settings)
    assert [str(each) for each in one.laws] == [str(Law(tuple(law.items()), **({"temperature": 1.0} | settings)))] * 3
    for drawn in collect(one, WORDS, seed=1):
        for s in drawn.samples:
            assert s.law == one.laws[0]
            assert s.logp == pytest.approx(one.log_probs(drawn.prompt_ids, s.tokens), abs=1e-6)
            assert s.text == tokenizer().decode(s.tokens, skip_special_tokens=True)


def test_log_probs_of_a_law_are_had_for_any_response(models):
    one = sampler(models, {"previous": 1.0}, settings=SETTINGS | {"top_k": 1})
    drawn = collect(one, WORDS[:1], seed=1)[0]
    assert one.log_probs(drawn.prompt_ids, drawn.samples[0].tokens) == [0.0] * len(drawn.samples[0].tokens)
    other = (drawn.samples[0].tokens[0] + 1) % 50
    assert one.log_probs(drawn.prompt_ids, [other]) == [-math.inf]


def test_the_same_round_gives_the_same_samples_and_another_others(models):
    one = sampler(models, {"previous": 1.0})
    first = collect(one, WORDS, seed=1)
    assert collect(sampler(models, {"previous": 1.0}), WORDS, seed=1) == first
    alone = dict(one.sample(WORDS[2:], seeds_of(WORDS, 1)[2:]))
    assert alone[0] == first[2]
    assert {d.samples for d in collect(one, WORDS, seed=2)}.isdisjoint(d.samples for d in first)


def test_greedy_draws_are_one_response(models):
    drawn = collect(sampler(models, {"previous": 1.0}, settings=SETTINGS | {"temperature": 0.0}), WORDS, seed=1)
    assert all(len({s.tokens for s in d.samples}) == 1 for d in drawn)


def test_a_prefix_is_continued_and_not_counted_as_drawn(models):
    given = tokenizer()("The answer", add_special_tokens=False)["input_ids"]
    one = sampler(models, {"previous": 1.0}, prefix=lambda prompt, seed: given)
    for d in collect(one, WORDS, seed=1):
        for s in d.samples:
            assert (s.tokens[: len(given)], s.given) == (tuple(given), len(given))
            assert s.logp[: s.given] == (0.0,) * len(given)
            assert s.logp[s.given :] == pytest.approx(one.log_probs(d.prompt_ids, s.tokens)[s.given :], abs=1e-6)
            assert s.text.startswith("The answer")
    assert not one.laws[0].plain


def test_what_cannot_be_drawn_from_is_named(models):
    with pytest.raises(OptionError, match="no snapshot 'half' to draw from"):
        sampler(models, {"half": 1.0})
    with pytest.raises(OptionError, match="sum to 1"):
        sampler(models, {"previous": 0.5, "reference": 0.25})


def test_a_writer_keeps_its_context(models):
    entered = []

    class Off:
        def __enter__(self):
            entered.append(1)

        def __exit__(self, *_):
            pass

    writers = {"reference": Writer(models["reference"], context=Off)}
    collect(sampler(writers, {"reference": 1.0}, count=1), WORDS[:1], seed=1)
    assert entered


def test_reference_and_policy_stand_side_by_side(models):
    both = Together(sampler(models, {"previous": 1.0}, 1), sampler(models, {"reference": 1.0}, 1))
    assert [str(law) for law in both.laws] == ["previous", "reference"]
    for d in collect(both, WORDS, seed=3):
        assert [s.law for s in d.samples] == list(both.laws)
        for s, single in zip(d.samples, both.samplers, strict=True):
            assert s.logp == pytest.approx(single.log_probs(d.prompt_ids, s.tokens), abs=1e-6)
    # Two draws of one law are two draws.
    twice = Together(sampler(models, {"previous": 1.0}, 1), sampler(models, {"previous": 1.0}, 1))
    assert any(d.samples[0].tokens != d.samples[1].tokens for d in collect(twice, WORDS, seed=3))


def test_a_half_step_is_drawn_from_like_any_snapshot(models):
    half = {"half": models["reference"]}
    one = sampler(half, {"half": 1.0}, 1)
    assert one.laws[0].plain
    same = sampler(models, {"reference": 1.0}, 1)
    assert [d.samples[0].tokens for d in collect(one, WORDS, seed=3)] == [
        d.samples[0].tokens for d in collect(same, WORDS, seed=3)
    ]


@pytest.mark.parametrize("k", [1, 4])
def test_the_best_of_k_comes_by_its_law(k):
    """T-BON: 1,500 draws against the exact law F^k - F_-^k of the best, and of the worst, its mirror image."""
    drawn = collect(BestAndWorst(Die(k), FACE, worst=k > 1), prompts(1500), seed=1)
    below = np.cumsum([0, *REFERENCE])
    above = np.cumsum([0, *REFERENCE[::-1]])
    sides = [np.diff(below**k), np.diff(above**k)[::-1]][: 2 if k > 1 else 1]
    if k == 4:
        assert sides[0] == pytest.approx([0.0256, 0.2145, 0.4160, 0.3439], abs=1e-4)
    for side, law in enumerate(sides):
        count = Counter(d.samples[side].text for d in drawn)
        assert chisquare([count[str(i)] for i in range(4)], 1500 * law).pvalue > 1e-3
    assert {str(s.law) for d in drawn for s in d.samples} == {
        f"reference, {side} of {k} by {FACE.name}" for side in (("best", "worst") if k > 1 else ("best",))
    }
    assert all(s.score == float(s.text) for d in drawn for s in d.samples)


def test_soft_best_of_n_goes_to_the_tilt():
    """Card soft_bon: total variation to pi_ref e^{r / .7} / Z is .408 with 2 draws, .178 with 8."""
    tilt = np.array(REFERENCE) * np.exp(np.arange(4) / 0.7)
    tilt /= tilt.sum()
    for n, far in ((2, 0.408), (8, 0.178)):
        drawn = collect(BestAndWorst(Die(n), FACE, worst=False, temperature=0.7), prompts(2000), seed=1)
        share = np.bincount([int(d.samples[0].text) for d in drawn], minlength=4) / 2000
        assert np.abs(share - tilt).sum() / 2 == pytest.approx(far, abs=0.035)


def test_a_judge_that_only_compares_ranks_by_mean_chance():
    cycle = Matrix([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])
    judge = Recorded(cycle)
    drawn = collect(BestAndWorst(Die(3, (0.4, 0.3, 0.3)), judge), prompts(40), seed=2)
    assert not hasattr(cycle, "reward")
    base = collect(Die(3, (0.4, 0.3, 0.3)), prompts(40), seed=2)
    for d, b in zip(drawn, base, strict=True):
        faces = [int(s.text) for s in b.samples]
        means = [np.mean([cycle.table[i, j] for m, j in enumerate(faces) if m != n]) for n, i in enumerate(faces)]
        assert [s.score for s in d.samples] == pytest.approx([max(means), min(means)])
    assert judge.asked <= 40 * 3


def test_draws_without_an_answer_take_no_part():
    class Silent(Scored):
        def reward(self, given, responses):
            return np.array([math.nan if y in "03" else float(y) for y in responses])

    drawn = collect(BestAndWorst(Die(4), Silent(float, name="silent")), prompts(60), seed=1)
    base = collect(Die(4), prompts(60), seed=1)
    for d, b in zip(drawn, base, strict=True):
        known = [s.text for s in b.samples if s.text in "12"]
        assert [s.text for s in d.samples] == ([max(known), min(known)] if len(known) > 1 else [])
    assert any(not d.samples for d in drawn)

    class Mute(Matrix):
        def prob(self, given, first, second):
            return np.full(len(first), math.nan)

    assert np.isnan(scores(Mute([[0.5, 0.5], [0.5, 0.5]]), base[:2])[0]).all()


def test_equal_values_make_no_pair_of_one_draw():
    drawn = collect(BestAndWorst(Die(4), Scored(lambda x, y: 1.0, name="flat")), prompts(5), seed=1)
    base = collect(Die(4), prompts(5), seed=1)
    for d, b in zip(drawn, base, strict=True):
        first, last = b.samples[0], b.samples[-1]
        assert [replace(s, law=first.law, score=None) for s in d.samples] == [first, last]


def test_the_mixer_is_unbiased_reproducible_and_says_where_from():
    """Card simplemix: the share of on-policy pairs is p within two standard errors; the ends are the samplers."""
    on, off = Die(2, name="previous"), Die(2, name="data")
    for p in (0.0, 0.3, 1.0):
        drawn = collect(Mixer(on, off, p), prompts(1000), seed=5)
        share = np.mean([d.samples[0].law == on.laws[0] for d in drawn])
        assert abs(share - p) <= 2 * math.sqrt(p * (1 - p) / 1000)
        assert all(len({s.law for s in d.samples}) == 1 for d in drawn)
        assert collect(Mixer(on, off, p), prompts(1000), seed=5) == drawn
    assert not Mixer(on, off, 0.5).laws[0].plain
    with pytest.raises(OptionError, match="from 0 to 1"):
        Mixer(on, off, 1.5)
    with pytest.raises(OptionError, match="draw as many"):
        Mixer(on, Die(3))


def test_what_people_wrote_is_recalled_best_first():
    sides = [Response(text("Because short waves scatter.")), Response(text("It is."))]
    rows = [
        Judgement(prompt=WORDS[0], responses=tuple(sides), ranks=(1, 2)),
        Judgement(prompt=WORDS[1], responses=tuple(sides), ranks=(2, 1)),
        Judgement(prompt=WORDS[2], responses=tuple(sides), ranks=(1, 1)),
    ]
    recalled = Recalled(Feedback.from_judgements(rows), tokenizer())
    first, second = collect(recalled, WORDS[:2], seed=1)
    assert [s.text for s in first.samples] == ["Because short waves scatter.", "It is."]
    assert [s.text for s in second.samples] == ["It is.", "Because short waves scatter."]
    assert first.samples[0].tokens[-1] == tokenizer().eos_token_id
    assert str(first.samples[0].law) == "data"
    with pytest.raises(OptionError, match="no pair of the feedback has the prompt"):
        collect(recalled, WORDS[2:], seed=1)


def test_a_law_of_one_token_is_exact(models):
    """3,000 first tokens of a mixture against its exact probabilities (chi-square on the likeliest and the rest)."""
    one = sampler(models, {"previous": 0.5, "reference": 0.5}, 3000, SETTINGS | {"max_new_tokens": 1})
    drawn = collect(one, WORDS[:1], seed=4)[0]
    ids = torch.tensor([list(drawn.prompt_ids)])
    with torch.no_grad():
        a, b = (models[name](ids).logits[0, -1].log_softmax(-1) for name in ("previous", "reference"))
    law = (0.5 * a + 0.5 * b).softmax(-1).numpy()
    likely = np.argsort(-law)[:10]
    count = Counter(s.tokens[0] for s in drawn.samples)
    seen = [count[i] for i in likely.tolist()]
    expected = np.append(law[likely], 1 - law[likely].sum())
    assert chisquare([*seen, 3000 - sum(seen)], 3000 * expected).pvalue > 1e-3
