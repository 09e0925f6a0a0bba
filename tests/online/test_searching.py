"""Cards prs, mini_n_loop, mcts_dpo and step_tree_dpo: samplers that look for better responses."""

import math
from dataclasses import replace

import numpy as np
import pytest
from dice import Die, prompts

from pluralign.errors import OptionError
from pluralign.feedback.record import Message, text
from pluralign.online.drawn import Drawn, Law, Sample, collect, hashed
from pluralign.online.judges import Matrix, Scored
from pluralign.online.samplers import BestAndWorst, PolicySampler
from pluralign.online.searching import Node, Reflective, TreeSearch, Until, step_pairs
from tests.tiny_models import tiny, tokenizer

NUMBER = Scored(lambda prompt, response: float(response), name="number")


class Normal:
    """Responses that are standard normal numbers, moved by d from what a rewritten prompt shows."""

    def __init__(self, count, d=0.0, ignores=True):
        self.laws, self.d, self.ignores, self.draws = (Law.of("policy"),) * count, d, ignores, 0

    def sample(self, asked, seeds):
        for place, (prompt, seed) in enumerate(zip(asked, seeds, strict=True)):
            told = prompt[-1].content
            moved = self.d if told.startswith("better than") else 0.0
            start = 0.0 if self.ignores or not moved else float(told.split()[2])
            values = start + moved + np.random.Generator(np.random.Philox(key=hashed(seed))).normal(size=len(self.laws))
            self.draws += len(values)
            samples = [Sample(repr(float(v)), (1,), (0.0,), "eos", seed, self.laws[0]) for v in values]
            yield place, Drawn(prompt, (9,), tuple(samples))


def rewrite(prompt, best, criticism):
    return (*prompt, Message(f"better than {best} {criticism}"))


def best_of(sampler, n, seed=1):
    drawn = collect(BestAndWorst(sampler, NUMBER, worst=False), prompts(n), seed=seed)
    return np.mean([d.samples[0].score for d in drawn])


def test_refinement_pays_where_it_moves_and_is_no_free_lunch_where_not():
    """Card prs: with +d the best of 4 + 4 exceeds the best of 8; with d = 0 it is the same within noise."""
    n = 700
    plain = best_of(Normal(8), n)
    error = 3 * 0.61 / math.sqrt(n) * math.sqrt(2)
    assert best_of(Reflective(Normal(4), NUMBER, rewrite), n, seed=2) == pytest.approx(plain, abs=error)
    assert best_of(Reflective(Normal(4, d=0.8), NUMBER, rewrite), n) > plain + 0.3
    assert best_of(Reflective(Normal(4), NUMBER, rewrite), n) > best_of(Normal(4), n) + error


def test_refined_responses_say_so_and_have_no_log_prob_of_the_prompt():
    asked = []

    def criticise(prompt, best):
        asked.append(best)
        return "be larger"

    sampler = Reflective(Normal(2, d=0.5), NUMBER, rewrite, criticise=criticise)
    drawn = collect(sampler, prompts(3), seed=1)
    for d, prompt, best in zip(drawn, prompts(3), asked, strict=True):
        assert d.prompt == prompt
        assert [s.law for s in d.samples] == list(sampler.laws)
        assert [s.logp is None for s in d.samples] == [False, False, True, True]
        assert all(s.score == float(s.text) for s in d.samples)
        assert float(best) == max(s.score for s in d.samples[:2])
    assert sampler.laws[2].selection == f"refined from the best of 2 by {NUMBER.name}"
    assert not sampler.laws[2].plain


def test_good_enough_ends_the_search_and_saves_draws():
    """Card mini_n_loop: with threshold 0 fewer than half of the draws are needed; nothing acceptable, nothing given."""
    inner = Normal(4)
    drawn = collect(Until(inner, NUMBER, 32), prompts(400), seed=1)
    assert inner.draws < 400 * 8
    assert all(d.samples[0].score > 0 for d in drawn if d.samples)
    # A lot has no number above zero with chance 1/16.
    lots = np.array([d.samples[0].meta["draws"] for d in drawn])
    assert (lots == 4).mean() == pytest.approx(15 / 16, abs=0.04)
    never = Until(Normal(4), NUMBER, 8, threshold=lambda draws: math.inf)
    assert all(not d.samples for d in collect(never, prompts(5), seed=1))
    kept = collect(replace_abstain(never), prompts(200), seed=1)
    assert all(d.samples[0].meta == {"draws": 8} for d in kept)
    assert np.mean([d.samples[0].score for d in kept]) == pytest.approx(1.4236, abs=0.15)  # E max of 8 normals


def replace_abstain(until):
    until.abstain = False
    return until


def test_a_threshold_that_grows_holds_false_acceptances_where_best_of_n_does_not():
    """Quality is never acceptable (-1) and judged with unit noise: the more draws, the more often luck is taken."""

    class Lucky(Normal):
        def sample(self, asked, seeds):
            for place, d in super().sample(asked, seeds):
                moved = [replace(s, text=repr(float(s.text) - 1)) for s in d.samples]
                yield place, replace(d, samples=tuple(moved))

    def accepted(n, threshold):
        drawn = collect(Until(Lucky(4), NUMBER, n, threshold=threshold), prompts(250), seed=3)
        return np.mean([bool(d.samples) for d in drawn])

    plain = [accepted(n, lambda draws: 0.0) for n in (4, 32)]
    gated = [accepted(n, lambda draws: 0.2 + math.sqrt(2 * math.log(draws)) - 1) for n in (4, 32)]
    assert plain[1] > plain[0] + 0.3
    assert gated[1] < gated[0] + 0.25
    assert gated[1] < plain[1] / 2
    with pytest.raises(OptionError, match="only compares"):
        Until(Normal(2), Matrix([[0.5, 0.5], [0.5, 0.5]]), 4)


def test_a_hand_made_tree_backs_up_as_by_hand():
    """Two levels: Q = r + sum max(1, N) Q / sum max(1, N); eps of visits (9, 3) is .25; depth-wise pairs."""
    left = Node((1,), reward=0.1, visits=9, children=[Node((3,), reward=1.0, visits=6), Node((4,), visits=2)])
    right = Node((2,), reward=0.3, visits=3, children=[Node((5,), reward=0.5, visits=0), Node((6,), visits=1)])
    root = Node((), visits=12, children=[left, right])
    assert left.value() == pytest.approx(0.1 + 6 / 8)
    assert right.value() == pytest.approx(0.3 + 0.25)
    assert root.value() == pytest.approx((9 * 0.85 + 3 * 0.55) / 12)
    assert left.value(gamma=0.5) == pytest.approx(0.1 + 0.375)
    first, second = step_pairs(root)
    assert (first.prefix, first.better, first.worse, first.smoothing) == ((), left, right, 0.25)
    assert (second.prefix, second.better.tokens, second.worse.tokens, second.smoothing) == ((1,), (3,), (4,), 0.25)
    by_ends = step_pairs(root, value=lambda node: float(np.mean(node.leaves())))
    assert root.leaves() == [1.0, 0.0, 0.5, 0.0]
    assert [p.better.tokens for p in by_ends] == [(1,), (3,)]


def test_less_visited_winners_are_half_doubted_at_most():
    tree = Node(children=[Node((1,), reward=1.0, visits=1), Node((2,), visits=9)])
    assert step_pairs(tree)[0].smoothing == 0.5
    assert step_pairs(Node(children=[Node((1,)), Node((2,))])) == []


@pytest.fixture(scope="module")
def policy():
    settings = {"max_new_tokens": 4, "temperature": 1.0}
    model = tiny("llama").double()
    return PolicySampler({"previous": model}, tokenizer(), {"previous": 1.0}, 2, settings, ended=lambda t: len(t) == 2)


LETTERS = Scored(lambda prompt, response: response.count("e") - 0.01 * len(response), name="letters")


@pytest.mark.parametrize("values", ["visits", "mean"])
def test_a_search_gives_pairs_that_part_after_what_they_share(policy, values):
    search = TreeSearch(policy, LETTERS, simulations=6, breadth=2, root_breadth=3, depth=2, values=values)
    asked = [text("Why is the sky blue?")]
    drawn = collect(search, asked, seed=1)[0]
    assert collect(search, asked, seed=1)[0] == drawn
    assert len(drawn.samples) >= 2
    for better, worse in zip(drawn.samples[::2], drawn.samples[1::2], strict=True):
        assert better.tokens[: better.given] == worse.tokens[: worse.given]
        assert better.given == worse.given
        assert better.tokens[better.given] != worse.tokens[worse.given] or better.tokens != worse.tokens
        assert better.score > worse.score
        assert 0 <= better.meta["smoothing"] <= 0.5
        for s in (better, worse):
            expected = policy.log_probs(drawn.prompt_ids, s.tokens)[s.given :]
            assert s.logp[s.given :] == pytest.approx(expected, abs=1e-6)
    root = search.search(asked[0], policy.prompt_ids(asked[0]), 1)
    assert root.visits == 6
    assert sum(child.visits for child in root.children) == 6


def test_one_level_is_the_best_and_the_worst_of_k(policy):
    search = TreeSearch(policy, LETTERS, simulations=1, root_breadth=6, depth=1)
    asked = text("Why?")
    root = search.search(asked, policy.prompt_ids(asked), 1)
    (pair,) = step_pairs(root)
    rewards = [child.reward for child in root.children]
    assert (pair.better.reward, pair.worse.reward) == (max(rewards), min(rewards))
    with pytest.raises(OptionError, match="only compares"):
        TreeSearch(policy, Matrix([[0.5, 0.5], [0.5, 0.5]]))


def test_a_die_can_be_asked_until_its_six():
    die = Die(1)
    drawn = collect(Until(die, Scored(lambda x, y: float(y) - 2.5, name="three"), 200), prompts(50), seed=1)
    assert all(d.samples[0].text == "3" for d in drawn)
    assert die.throws / 50 == pytest.approx(10, abs=5)
