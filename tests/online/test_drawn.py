"""What samplers give comes back from disk as it was, and is not drawn twice."""

import json

import pytest

from pluralign.feedback.record import Message, text
from pluralign.online.drawn import Drawn, Law, Sample, collect, hashed, seeds_of

PROMPTS = [text("Why?"), text("How?"), (Message("Why?", role="user"),), text("Why?"), text("When?")]


class Coins:
    """Two responses of one token, which depend on the seed alone; `asked` is what it was asked for."""

    def __init__(self, fails_after=None):
        self.laws, self.asked, self.left = (Law.of("previous"),) * 2, [], fails_after

    def sample(self, prompts, seeds):
        for place in reversed(range(len(prompts))):
            if self.left == 0:
                raise KeyboardInterrupt
            self.left = None if self.left is None else self.left - 1
            self.asked.append(seeds[place])
            drawn = [
                Sample(f"{hashed(seeds[place], k)}", (k,), (-0.1,), "eos", seeds[place], self.laws[k]) for k in (0, 1)
            ]
            yield place, Drawn(prompts[place], (7,), tuple(drawn))


def test_samples_come_back_from_json_as_they_were():
    law = Law((("previous", 0.25), ("reference", 0.75)), temperature=0.7, top_p=0.9, top_k=5, selection="best of 2")
    for sample in (
        Sample("hi", (1, 2), (-0.5, -1.0), "eos", 3, law, given=1, score=0.5, meta={"visits": 3}),
        Sample("hi", (), None, "length", 3, law),
    ):
        assert Sample.from_json(json.loads(json.dumps(sample.to_json()))) == sample
    assert str(law) == "previous^0.25 reference^0.75, temperature 0.7, top_p 0.9, top_k 5, best of 2"
    assert sample.law.plain is False
    with pytest.raises(ValueError, match="no log-probs"):
        _ = sample.total_logp


def test_seeds_know_prompt_place_and_round():
    seeds = seeds_of(PROMPTS, 1)
    assert len(set(seeds)) == 5
    assert set(seeds).isdisjoint(seeds_of(PROMPTS, 2))
    assert seeds_of(PROMPTS[3:], 1)[1] == seeds[4]


@pytest.mark.parametrize("killed_after", range(5))
def test_what_was_drawn_before_a_kill_is_not_drawn_again(killed_after, tmp_path):
    whole = collect(Coins(), PROMPTS, seed=1)
    path, first, second = tmp_path / "samples.jsonl", Coins(killed_after), Coins()
    with pytest.raises(KeyboardInterrupt):
        collect(first, PROMPTS, seed=1, path=path)
    done = []
    assert collect(second, PROMPTS, seed=1, path=path, progress=done.append) == whole
    assert sorted(first.asked + second.asked) == sorted(seeds_of(PROMPTS, 1))
    assert done == list(range(killed_after, 6))
    third = Coins()
    assert collect(third, PROMPTS, seed=1, path=path) == whole
    assert third.asked == []


def test_another_round_or_law_is_drawn_anew(tmp_path):
    path = tmp_path / "samples.jsonl"
    collect(Coins(), PROMPTS, seed=1, path=path)
    for sampler, seed in ((Coins(), 2), (Coins(), 1)):
        if seed == 1:
            sampler.laws = (Law.of("reference"),) * 2
        collect(sampler, PROMPTS, seed=seed, path=path)
        assert len(sampler.asked) == 5
