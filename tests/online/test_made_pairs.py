"""Cards step_tree_dpo, sphere and dno: pairs that are made, mended or left out before anybody learns from them."""

import numpy as np
import pytest
from dice import Die, prompts

from pluralign.errors import OptionError
from pluralign.feedback.record import Message, text
from pluralign.lab.arithmetic import answer, exact, questions
from pluralign.online.drawn import Drawn, Law, Sample, collect, hashed
from pluralign.online.judges import Matrix, Scored
from pluralign.online.rewriting import Rewritten
from pluralign.online.samplers import BestAndWorst, PolicySampler, Together
from pluralign.online.searching import Node, Reflective, TreeSearch, step_pairs
from pluralign.online.verifier import ExactAnswer
from tests.tiny_models import tiny, tokenizer

FACE = Scored(lambda prompt, face: float(face), name="face")


class Sums:
    """Answers to sums that are right with a chance, else off by a little."""

    def __init__(self, count: int, right: float, name: str = "previous") -> None:
        self.laws, self.right = (Law.of(name),) * count, right

    def sample(self, asked, seeds):
        for place, (prompt, seed) in enumerate(zip(asked, seeds, strict=True)):
            draw = np.random.Generator(np.random.Philox(key=hashed(seed, self.right)))
            said = [
                int(answer(prompt[0].content)) + int(draw.integers(1, 5)) * (draw.random() > self.right)
                for _ in self.laws
            ]
            samples = [Sample(str(n), (n,), (0.0,), "eos", seed, law) for n, law in zip(said, self.laws, strict=True)]
            yield place, Drawn(prompt, (9,), tuple(samples))


def corrected(prompt, best, criticism):
    return (*prompt, Message(f"not {best}"))


def test_pairs_made_of_a_verifier_s_verdicts_are_right_against_wrong_without_exception() -> None:
    """Own answers, answers corrected after a look at the best, and those of a smaller model: card sphere's stages."""
    verifier = ExactAnswer(lambda prompt: answer(prompt), name="sums")
    asked = [text(q) for q in questions(150)]
    stages = {
        "own": Sums(3, 0.5),
        "corrected": Reflective(Sums(1, 0.4), verifier, corrected, refiner=Sums(1, 0.9)),
        "a smaller model's errors": Together(Sums(1, 0.8), Sums(1, 0.2, name="small")),
    }
    for name, sampler in stages.items():
        pairs = [d for d in collect(BestAndWorst(sampler, verifier, margin=0.0), asked, seed=1) if d.samples]
        assert len(pairs) > 50, name
        verdicts = [[exact(d.prompt[0].content, s.text) for s in d.samples] for d in pairs]
        assert verdicts == [[1.0, 0.0]] * len(pairs), name
        unsifted = collect(BestAndWorst(sampler, verifier), asked, seed=1)
        assert any(len({exact(d.prompt[0].content, s.text) for s in d.samples}) == 1 for d in unsifted), name


@pytest.mark.parametrize("margin", [0.0, 1.0, 2.0])
def test_only_pairs_far_enough_apart_are_kept(margin: float) -> None:
    every = collect(BestAndWorst(Die(3), FACE), prompts(200), seed=1)
    kept = collect(BestAndWorst(Die(3), FACE, margin=margin), prompts(200), seed=1)
    for a, b in zip(every, kept, strict=True):
        gap = a.samples[0].score - a.samples[1].score
        assert [s.text for s in b.samples] == ([s.text for s in a.samples] if gap > margin else [])
    with pytest.raises(OptionError, match="between best and worst"):
        BestAndWorst(Die(3), FACE, worst=False, margin=margin)


def test_values_of_plans_are_means_of_their_ends_or_the_best_of_them() -> None:
    """Plan, draft, final: by the mean of what descends from it the steady plan, by the most the one with a hit."""

    def ends(*rewards: float) -> list[Node]:
        return [Node((i,), reward=r) for i, r in enumerate(rewards)]

    steady = Node((1,), children=[Node((3,), children=ends(0.6, 0.6)), Node((4,), children=ends(0.5, 0.7))])
    lucky = Node((2,), children=[Node((5,), children=ends(0.0, 1.0)), Node((6,), children=ends(0.1, 0.1))])
    root = Node(children=[steady, lucky])
    by_mean = step_pairs(root, value=lambda node: float(np.mean(node.leaves())))
    by_most = step_pairs(root, value=lambda node: max(node.leaves()))
    assert np.mean(root.leaves()) == pytest.approx((0.6 + 0.6 + 0.5 + 0.7 + 0.0 + 1.0 + 0.1 + 0.1) / 8)
    assert by_mean[0].better is steady
    assert by_most[0].better is lucky
    # A pair at each of the stages, if they differ, and never of steps with different beginnings.
    assert [p.prefix for p in by_most] == [(), (2,), (2, 5)]
    assert [p.better.tokens for p in by_most] == [(2,), (5,), (1,)]


LETTERS = Scored(lambda prompt, response: response.count("e") - 0.01 * len(response), name="letters")


@pytest.fixture(scope="module")
def search() -> TreeSearch:
    settings = {"max_new_tokens": 4, "temperature": 1.0}
    model, ended = tiny("llama").double(), lambda tokens: len(tokens) == 2
    policy = PolicySampler({"previous": model}, tokenizer(), {"previous": 1.0}, 2, settings, ended=ended)
    return TreeSearch(policy, LETTERS, simulations=6, breadth=2, root_breadth=3, depth=2)


def test_a_critic_rewrites_steps_that_hardly_lead_and_no_others(search: TreeSearch) -> None:
    asked, seen = [text("Why is the sky blue?"), text("Write a short note")], []

    def rewrite(prompt, beginning: str, step: str) -> str:
        seen.append((beginning, step))
        return " here we see" if len(seen) % 2 else " no"

    plain = collect(search, asked, seed=1)
    leads = [a.score - b.score for d in plain for a, b in zip(d.samples[::2], d.samples[1::2], strict=True)]
    margin = max(leads)
    sampler = Rewritten(search, LETTERS, rewrite, tokenizer(), margin=margin)
    mended = collect(sampler, asked, seed=1)
    assert len(seen) == sum(lead < margin for lead in leads) > 1
    rewritten = 0
    for before, after in zip(plain, mended, strict=True):
        rows = zip(before.samples[::2], after.samples[::2], after.samples[1::2], strict=True)
        for (old, new, other), kept in zip(rows, before.samples[1::2], strict=True):
            assert other == kept
            assert (new.law, other.law) == sampler.laws
            assert new.tokens[: new.given] == other.tokens[: other.given] == old.tokens[: old.given]
            if new.meta.get("rewritten"):
                rewritten += 1
                assert new.text == tokenizer().decode(new.tokens, skip_special_tokens=True)
                assert (new.logp, new.text.endswith(" here we see")) == (None, True)
                assert new.score == pytest.approx(LETTERS.function("", new.text))
                assert new.score > old.score
            else:
                assert new.tokens == old.tokens
    assert 0 < rewritten < len(seen)
    assert sampler.laws[0].selection.endswith(f"rewritten where it leads by less than {margin:g}")
    # Where every pair leads by enough, nobody is asked.
    unasked = Rewritten(search, LETTERS, lambda *_: pytest.fail("asked"), tokenizer(), margin=1e-9)
    assert [s.tokens for s in collect(unasked, asked, seed=1)[0].samples] == [s.tokens for s in plain[0].samples]


def test_what_cannot_be_rewritten_is_named(search: TreeSearch) -> None:
    def same(prompt, beginning, step):
        return step

    with pytest.raises(OptionError, match="only compares"):
        Rewritten(search, Matrix([[0.5, 0.5], [0.5, 0.5]]), same, tokenizer(), margin=1.0)
    with pytest.raises(OptionError, match="sampler of pairs"):
        Rewritten(Die(3), FACE, same, tokenizer(), margin=1.0)
    with pytest.raises(OptionError, match="pairs with scores"):
        collect(Rewritten(Die(2), FACE, same, tokenizer(), margin=1.0), prompts(1), seed=1)
