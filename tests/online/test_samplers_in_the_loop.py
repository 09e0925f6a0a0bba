"""Any sampler can stand in the loop: one that gives nothing, several groups a prompt, or draws without log-probs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pluralign.errors import MissingInput, OptionError
from pluralign.feedback.record import Message
from pluralign.lab.tiny import build
from pluralign.online import run
from pluralign.online.drawn import Drawn, Sampler
from pluralign.online.judges import Scored
from pluralign.online.rewriting import Rewritten
from pluralign.online.samplers import BestAndWorst, PolicySampler
from pluralign.online.searching import Reflective, TreeSearch, Until
from pluralign.policy.load import save

PROMPTS = [f"Say {word}: " for word in ("red", "blue", "green", "grey", "pink", "gold")]
JUDGE = Scored(lambda prompt, response: float(sum(map(ord, response)) % 7), name="sevens")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "start"
    save(folder, *build("tiny", PROMPTS, steps=2))
    return str(folder)


def plain(snapshots: Any, words: Any, law: Any, count: int, settings: Any, **more: Any) -> PolicySampler:
    return PolicySampler(snapshots, words, law, count, settings, **more)


class Sometimes:
    """Nothing for prompts with an r in their colour, else what another sampler finds."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler, self.laws = sampler, sampler.laws

    def sample(self, prompts: Any, seeds: Any) -> Iterator[tuple[int, Drawn]]:
        for place, drawn in self.sampler.sample(prompts, seeds):
            yield place, replace(drawn, samples=() if "r" in drawn.prompt[0].content else drawn.samples)


def ends(snapshots: Any, words: Any, law: Any, count: int, settings: Any) -> Sampler:
    return Sometimes(BestAndWorst(plain(snapshots, words, law, 3, settings), JUDGE, margin=0.0))


def tree(snapshots: Any, words: Any, law: Any, count: int, settings: Any) -> Sampler:
    steps = plain(snapshots, words, law, 2, settings, ended=lambda tokens: len(tokens) == 2)
    return TreeSearch(steps, JUDGE, simulations=4, breadth=2, root_breadth=3, depth=2)


def rewritten(snapshots: Any, words: Any, law: Any, count: int, settings: Any) -> Sampler:
    return Rewritten(tree(snapshots, words, law, count, settings), JUDGE, lambda *_: "seven", words, margin=9.0)


def reflective(snapshots: Any, words: Any, law: Any, count: int, settings: Any) -> Sampler:
    one = plain(snapshots, words, law, 1, settings)
    return Reflective(one, JUDGE, lambda prompt, best, criticism: (*prompt, Message(f"not {best}")))


def until(snapshots: Any, words: Any, law: Any, count: int, settings: Any) -> Sampler:
    return Until(plain(snapshots, words, law, 2, settings), JUDGE, 2, threshold=lambda draws: 1.0)


def ran(start: str, folder: Path, sampler: Callable[..., Sampler], learner: str = "dpo", **options: Any) -> Any:
    given = {"max_new_tokens": 4, "monitor_prompts": 1, "rounds": 1, "learning_rate": 1e-3}
    return run(PROMPTS, start, learner, judge=JUDGE, output_dir=folder, sampler=sampler, **given | options)


@pytest.mark.parametrize(
    ("sampler", "learner"),
    [(ends, "dpo"), (tree, "dpo"), (rewritten, "sppo"), (reflective, "rebel"), (until, "raft")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_a_sampler_found_is_learnt_from_in_its_groups(
    start: str, tmp_path: Path, sampler: Callable[..., Sampler], learner: str
) -> None:
    done = ran(start, tmp_path / "run", sampler, learner)
    lines = [json.loads(line) for line in (done.round_path(1) / "samples-0.jsonl").read_text().splitlines()]
    found = [len(line["samples"]) for line in lines]
    size = {"until": 1}.get(sampler.__name__, 2)
    data = json.loads((done.round_path(1) / "data.json").read_text())
    assert data["train"]["used"] == sum(count // size for count in found) > 0
    assert data["train"]["dropped"].get("nothing drawn", 0) == found.count(0)
    assert found.count(0) > 1 or sampler is not ends
    assert (max(found) > 2) == (sampler in (tree, rewritten))
    # What watches the policy is not what the sampler selects.
    watched = json.loads((done.round_path(1) / "watched.jsonl").read_text().splitlines()[0])["samples"]
    assert [one["law"]["selection"] for one in watched] == [""]


def test_a_round_of_nothing_says_so(start: str, tmp_path: Path) -> None:
    def never(*given: Any) -> Sampler:
        return Until(plain(*given), JUDGE, 2, threshold=lambda draws: 99.0)

    with pytest.raises(OptionError, match=r"nothing drawn.*sampler"):
        ran(start, tmp_path / "run", never, "raft")


def test_a_learner_that_must_know_how_likely_a_draw_was_refuses_refined_ones(start: str, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="brain needs sampled_logp"):
        ran(start, tmp_path / "run", reflective, "brain")
