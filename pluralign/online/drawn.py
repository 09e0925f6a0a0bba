"""What a sampler gives: responses, the law that they were drawn from, and the file that keeps them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from pluralign.feedback.record import Message, plain
from pluralign.online.journal import Journal

Prompt: TypeAlias = tuple[Message, ...]


@dataclass(frozen=True)
class Law:
    """The distribution that a response is drawn from.

    weights: exponents of a geometric mixture of writers, token by token and renormalised: (("previous", 1.0),) is the
    policy as it stood when the round began, (("previous", 0.5), ("reference", 0.5)) half way to the reference. Writers
    have the names of policy snapshots, or "data", or that of a server's model. temperature, top_p, top_k (0: all) bend
    each token's distribution after that. selection: how responses were chosen among draws, "" where not at all.

    >>> str(Law((("previous", 0.75), ("reference", 0.25)), temperature=0.7))
    'previous^0.75 reference^0.25, temperature 0.7'
    """

    weights: tuple[tuple[str, float], ...]
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    selection: str = ""

    @classmethod
    def of(cls, writer: str, **settings: Any) -> Law:
        """The law of one writer."""
        return cls(((writer, 1.0),), **settings)

    @property
    def plain(self) -> bool:
        """Independent draws of one writer's own distribution: what on-policy losses ask for.

        >>> Law.of("previous").plain, Law.of("data", temperature=0.7).plain, Law.of("data", selection="best").plain
        (True, False, False)
        """
        bent = self.temperature != 1 or self.top_p < 1 or self.top_k > 0
        return len(self.weights) == 1 and self.weights[0][1] == 1 and not bent and not self.selection

    def __str__(self) -> str:
        names = " ".join(name if weight == 1 else f"{name}^{weight:g}" for name, weight in self.weights)
        settings = [
            names,
            f"temperature {self.temperature:g}" if self.temperature != 1 else "",
            f"top_p {self.top_p:g}" if self.top_p < 1 else "",
            f"top_k {self.top_k}" if self.top_k else "",
            self.selection,
        ]
        return ", ".join(s for s in settings if s)


@dataclass(frozen=True)
class Sample:
    """One response to a prompt.

    tokens: its ids, EOS included where the model ended; empty where a server tells none. logp: log-prob of each
    token under `law` before any selection, None where the law has none that can be computed. given: how many of
    the first tokens were laid down and not drawn (a prefix that was continued); their logp is 0. stop: "eos", "length"
    (cut at the limit) or "stop" (a stop text or rule). seed: what it was drawn under. score: what the sampler's own
    judge said of it, where it has one. meta: whatever else is known, fit for JSON.
    """

    text: str
    tokens: tuple[int, ...]
    logp: tuple[float, ...] | None
    stop: str
    seed: int
    law: Law
    given: int = 0
    score: float | None = None
    meta: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def total_logp(self) -> float:
        """Log-prob of the drawn tokens under the law. Raises `ValueError` where there is none."""
        if self.logp is None:
            raise ValueError(f"samples of '{self.law}' have no log-probs")
        return sum(self.logp)

    def to_json(self) -> dict[str, Any]:
        """As an object for JSON; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Sample:
        """Inverse of `to_json`, of the object or what JSON made of it."""
        law = {**row["law"], "weights": tuple((name, weight) for name, weight in row["law"]["weights"])}
        logp = None if row["logp"] is None else tuple(row["logp"])
        return cls(**{**row, "law": Law(**law), "tokens": tuple(row["tokens"]), "logp": logp})


@dataclass(frozen=True)
class Drawn:
    """A prompt, its token ids as the model read them, and the responses drawn to it."""

    prompt: Prompt
    prompt_ids: tuple[int, ...]
    samples: tuple[Sample, ...]


class Sampler(Protocol):
    """Draws responses to prompts.

    laws: of each of the responses to a prompt, in their order. sample: one `Drawn` a prompt, with its place, as soon
    as it is there (not in order). What is drawn for a prompt depends on the prompt and its seed alone, not on what
    else is asked, up to the rounding of a model's arithmetic.
    """

    @property
    def laws(self) -> tuple[Law, ...]:
        """Of each response, in order."""

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, what was drawn) for every prompt."""


def seeds_of(prompts: Sequence[Prompt], seed: int) -> list[int]:
    """A seed below 2^63 for each prompt, from its words and a round's seed; a prompt that comes twice has two.

    >>> prompts = [(Message("Why?"),), (Message("How?"),), (Message("Why?"),)]
    >>> a, b, c = seeds_of(prompts, 7)
    >>> len({a, b, c}), seeds_of(prompts[1:], 7)[0] == b
    (3, True)
    """
    times: Counter[str] = Counter()
    found = []
    for prompt in prompts:
        words = prompt_key(prompt)
        found.append(hashed(seed, times[words], words))
        times[words] += 1
    return found


def walk(count: int, start: int, size: int, seed: int) -> list[int]:
    """Places start to start + size of an endless walk through `count` things, mixed anew each time round.

    >>> steps = walk(3, 0, 2, seed=7) + walk(3, 2, 2, seed=7) + walk(3, 4, 2, seed=7)
    >>> sorted(steps[:3]), sorted(steps[3:])
    ([0, 1, 2], [0, 1, 2])
    """
    laps = range(start // count, (start + size - 1) // count + 1)
    order = [i for lap in laps for i in np.random.default_rng((seed, lap)).permutation(count).tolist()]
    return order[start % count : start % count + size]


def hashed(*parts: object) -> int:
    """A number below 2^63 that depends on all parts and on nothing else.

    >>> hashed(1, "a") == hashed(1, "a") != hashed(1, "b")
    True
    """
    whole = json.dumps([str(part) for part in parts]).encode()
    return int.from_bytes(hashlib.blake2b(whole, digest_size=8).digest(), "big") >> 1


def prompt_key(prompt: Prompt) -> str:
    """The prompt in full, roles and tool calls included, as one line."""
    said = [[m.role, m.content, *([dict(m.extra)] if m.extra else [])] for m in prompt]
    return json.dumps(said, ensure_ascii=False, sort_keys=True)


def words(prompt: Prompt | str) -> str:
    """A prompt as plain text.

    >>> words((Message("Hi", role="user"),)), words("Hi")
    ('Hi', 'Hi')
    """
    return prompt if isinstance(prompt, str) else plain(prompt)


def collect(
    sampler: Sampler,
    prompts: Sequence[Prompt],
    *,
    seed: int,
    path: str | Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Drawn]:
    """Everything a sampler draws for these prompts, in their order.

    path: a file that keeps each prompt's samples as they come; what is in it for the same prompt, seed and laws is not
    drawn again. progress is told how many prompts are done. Raises what the sampler raises.
    """
    seeds = seeds_of(prompts, seed)
    laws = [str(law) for law in sampler.laws]
    journal = Journal(path)
    kept = {line["seed"]: line for line in journal.lines if line["laws"] == laws}
    found: dict[int, Drawn] = {}
    for place, own in enumerate(seeds):
        if (line := kept.get(own)) is not None and line["prompt"] == prompt_key(prompts[place]):
            samples = tuple(Sample.from_json(row) for row in line["samples"])
            found[place] = Drawn(prompts[place], tuple(line["prompt_ids"]), samples)
    progress(len(found))
    missing = [place for place in range(len(prompts)) if place not in found]
    for at, drawn in sampler.sample([prompts[i] for i in missing], [seeds[i] for i in missing]):
        place = missing[at]
        drawn = replace(drawn, prompt=prompts[place])
        line = {"seed": seeds[place], "laws": laws, "prompt": prompt_key(drawn.prompt)}
        line |= {"prompt_ids": list(drawn.prompt_ids), "samples": [s.to_json() for s in drawn.samples]}
        journal.append([line])
        found[place] = drawn
        progress(len(found))
    return [found[place] for place in range(len(prompts))]
