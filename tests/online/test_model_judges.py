"""Judges made of models say what the models say."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit

from pluralign.errors import OptionError
from pluralign.feedback.record import Message, text
from pluralign.models import Answers, Features, GeneralPreference, LowRank, MixtureModel, PreferenceModel
from pluralign.online.judges import Rewarding
from pluralign.online.model_judges import DensityRatio, FollowUp, Opinions, RewardJudge, Tastes
from pluralign.policy.load import without_dropout
from tests.tiny_models import CHATML, tiny, tokenizer

WORDS = {"rock": [1.0, 0.0], "paper": [-0.5, 0.8], "scissors": [-0.5, -0.8]}


def vectors(texts):
    return [WORDS[t.split("\n\n")[-1]] for t in texts]


def reading(model):
    features = Features(vectors, cache=None)
    features.centre, features.scale = np.zeros(2), np.ones(2)
    model.features = features
    return model


def people():
    left = np.array([WORDS["rock"], WORDS["paper"]] * 20)
    right = np.array([WORDS["paper"], WORDS["rock"]] * 20)
    said = [1, 0] * 10 + [0, 1] * 10
    return Answers.of(left, right, said, ["ada"] * 20 + ["ben"] * 20)


@pytest.fixture(scope="module")
def fitted():
    return reading(PreferenceModel(LowRank(2, 2), epochs=60, lr=0.2).fit(people()))


def test_a_person_a_group_and_the_mean_have_their_own_opinion(fitted):
    for whom in ("ada", "ben", 0, 1, None, [0.25, 0.75]):
        judge = Tastes(fitted, whom)
        assert isinstance(judge, Rewarding)
        own = fitted.export(whom)
        r = own("x", ["rock", "paper"])
        assert judge.reward(["x", "x"], ["rock", "paper"]) == pytest.approx(r)
        assert judge.prob(["x"], ["rock"], ["paper"])[0] == pytest.approx(expit(r[0] - r[1]), abs=1e-5)
    ada, ben = (Tastes(fitted, name) for name in ("ada", "ben"))
    assert ada.prob(["x"], ["rock"], ["paper"])[0] > 0.8 > 0.2 > ben.prob(["x"], ["rock"], ["paper"])[0]
    assert len({ada.name, ben.name, Tastes(fitted).name}) == 3
    assert Tastes(fitted, "ada").name == ada.name
    with pytest.raises(OptionError):
        Tastes(fitted, "cem")
    with pytest.raises(OptionError, match="2 groups"):
        Tastes(fitted, [1.0])


def test_a_mixture_mixes_chances_not_rewards():
    model = reading(MixtureModel(2).fit(people()))
    half = Opinions(model, [0.5, 0.5]).prob(["x"], ["rock"], ["paper"])[0]
    ends = [Opinions(model, k).prob(["x"], ["rock"], ["paper"])[0] for k in (0, 1)]
    assert half == pytest.approx(np.mean(ends), abs=1e-6)


def test_a_cyclic_preference_goes_round_and_gives_no_rewards():
    score = GeneralPreference(2, size=2, temperature=0.2)
    score.projector.weight.data = torch.eye(2)
    model = PreferenceModel(score)
    model._weights, model.people_ = torch.ones(1, 1), ("everybody",)
    judge = Opinions(reading(model))
    said = judge.prob(["x"] * 3, ["rock", "paper", "scissors"], ["paper", "scissors", "rock"])
    assert (said > 0.9).all()  # each beats the next: no scalar does that
    assert judge.prob(["x"], ["paper"], ["rock"])[0] == pytest.approx(1 - said[0], abs=1e-6)
    assert not isinstance(judge, Rewarding)
    with pytest.raises(OptionError, match="no score to a response alone"):
        Tastes(model)


def test_a_model_of_vectors_is_refused():
    with pytest.raises(OptionError, match="reads no texts"):
        Opinions(PreferenceModel(LowRank(2, 2), epochs=1).fit(people()))


def test_a_reward_is_asked_once_a_prompt():
    calls = []

    def reward(prompt, responses):
        calls.append(prompt)
        return [len(y) for y in responses]

    judge = RewardJudge(reward, name="length")
    assert judge.reward(["a", "b", "a"], ["1", "22", "333"]).tolist() == [1, 2, 3]
    assert calls == ["a", "b"]
    assert judge.prob(["a"], ["333"], ["1"])[0] == pytest.approx(expit(2))


@pytest.fixture(scope="module")
def models():
    return tiny("llama"), tiny("llama", seed=1)


PROMPTS, SAID = ["Why is the sky blue?", "2 + 2", "Write"], ["Because", "The answer is eight.", "Dear friend"]


def log_prob(model, prompt, response):
    words = tokenizer()
    head, whole = words(prompt)["input_ids"], [*words(prompt + response)["input_ids"], words.eos_token_id]
    shared = next((i for i, (a, b) in enumerate(zip(head, whole, strict=False)) if a != b), len(head))
    with torch.no_grad():
        logp = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(float(logp[i - 1, whole[i]]) for i in range(shared, len(whole))), len(whole) - shared


def test_a_density_ratio_is_the_difference_of_log_probs(models):
    """Card cdr: sums over the response alone; the same model twice is 0; per token each over its own length."""
    words = tokenizer()
    strong, weak = ((m, words) for m in models)
    judge = DensityRatio(strong, weak)
    expected = [log_prob(models[0], x, y)[0] - log_prob(models[1], x, y)[0] for x, y in zip(PROMPTS, SAID, strict=True)]
    assert judge.reward(PROMPTS, SAID) == pytest.approx(expected, abs=1e-3)
    assert DensityRatio(strong, strong).reward(PROMPTS, SAID).tolist() == [0, 0, 0]
    each = DensityRatio(strong, weak, per_token=True).reward(PROMPTS, SAID)
    lengths = [log_prob(models[0], x, y)[1] for x, y in zip(PROMPTS, SAID, strict=True)]
    assert each == pytest.approx(np.array(expected) / lengths, abs=1e-3)
    r = judge.reward(PROMPTS[:1] * 2, SAID[:2])
    assert judge.prob(PROMPTS[:1], SAID[:1], SAID[1:2])[0] == pytest.approx(expit(r[0] - r[1]))


def test_only_the_strong_model_sees_the_instruction_and_each_reads_its_own_template(models):
    words, chat = tokenizer(), tokenizer(CHATML)
    asked = [(Message("Why?", role="user"),)]

    def told(prompt):
        return (Message("Be brief.", role="system"), *prompt)

    plain = DensityRatio((models[0], chat), (models[1], chat))
    instructed = DensityRatio((models[0], chat), (models[1], chat), instruct=told)
    same = DensityRatio((models[0], chat), (models[0], chat), instruct=told)
    assert instructed.name != plain.name
    lift = instructed.reward(asked, ["Because."])[0] - plain.reward(asked, ["Because."])[0]
    assert lift == pytest.approx(same.reward(asked, ["Because."])[0], abs=1e-3)
    assert lift != 0
    assert math.isfinite(DensityRatio((models[0], chat), (models[1], words)).reward([text("Why?")], ["So."])[0])


class Planted(torch.nn.Module):
    """A user who thanks the more, the better what was said: quality is a digit token in the context."""

    def __init__(self, words):
        super().__init__()
        self.words, self.config, self.device = words, None, torch.device("cpu")
        self.bias = torch.nn.Parameter(torch.zeros(len(words)))
        self.thanks = words(" thank", add_special_tokens=False)["input_ids"]

    def forward(self, input_ids, **_):
        logits = torch.zeros(*input_ids.shape, len(self.words)) + self.bias
        for i, row in enumerate(input_ids.tolist()):
            quality = max((int(c) for c in self.words.decode(row) if c.isdigit()), default=0)
            logits[i, :, self.thanks] += 0.3 * quality

        class Out:
            pass

        out = Out()
        out.logits = logits
        return out


def test_follow_ups_tell_a_planted_quality_whatever_their_length(models):
    """Card flr: correlation with the planted quality above .9; by token, a longer follow-up weighs no more."""
    words = tokenizer()
    user = Planted(words)
    qualities = list(range(9))
    said = [f"quality {q}" for q in qualities]
    import pluralign.online.model_judges as room

    def plainly(model, rows):
        total = []
        for row in rows:
            ids = row.prompt_ids + row.response_ids[0]
            logp = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            total.append(sum(float(logp[i - 1, ids[i]]) for i in range(len(row.prompt_ids), len(ids))))
        return np.array(total), np.array([len(row.response_ids[0]) for row in rows], dtype=float)

    own, fingerprint = room.scored, room.weights_fingerprint
    room.scored, room.weights_fingerprint = plainly, lambda model: "planted user"
    try:
        short = FollowUp(user, words, good=[" thank"], bad=[" wrong"])
        long = FollowUp(user, words, good=[" thank thank thank"], bad=[" wrong"])
        sums = FollowUp(user, words, good=[" thank thank thank"], bad=[" wrong"], normalise=False)
        r = short.reward(["Why?"] * 9, said)
        assert np.corrcoef(r, qualities)[0, 1] > 0.9
        spread = [np.ptp(j.reward(["Why?"] * 9, said)) for j in (short, long, sums)]
        assert spread[1] == pytest.approx(spread[0], rel=0.35)
        assert spread[2] > 2 * spread[0]
        assert short.prob(["Why?"], said[8:], said[:1])[0] == pytest.approx(expit(r[8] - r[0]))
    finally:
        room.scored, room.weights_fingerprint = own, fingerprint


def test_follow_ups_by_a_real_model_are_its_log_likelihoods(models):
    without_dropout(models[0])
    words, chat = tokenizer(), tokenizer(CHATML)
    judge = FollowUp(models[0], words, good=["Dear friend"], normalise=False)
    head = "Why?\nBecause short\n"
    ids, before = words(head + "Dear friend")["input_ids"], words(head)["input_ids"]
    with torch.no_grad():
        logp = models[0](torch.tensor([ids])).logits[0].log_softmax(-1)
    shared = next((i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), len(before))
    expected = sum(float(logp[i - 1, ids[i]]) for i in range(shared, len(ids)))
    assert judge.reward(["Why?"], ["Because short"])[0] == pytest.approx(expected, abs=1e-3)
    talked = FollowUp(models[0], chat, good=["Dear friend"], bad=["Write"])
    assert math.isfinite(talked.reward([(Message("Why?", role="user"),)], ["Because"])[0])
    with pytest.raises(OptionError, match="at least one"):
        FollowUp(models[0], words, good=[])
