"""Samplers that look for better responses: refined ones, draws until one is good enough, and trees of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from pluralign.errors import OptionError
from pluralign.online.drawn import Drawn, Law, Prompt, Sample, Sampler, hashed
from pluralign.online.judges import Judge
from pluralign.online.samplers import PolicySampler, gives_rewards, scores

CHUNK = 32
"""Prompts drawn together: what a kill can lose."""


class Reflective:
    """N/2 draws, then N/2 more after the best of them has been shown and criticised.

    sampler: draws N/2. rewrite: (prompt, best response, criticism) -> the prompt that asks for a better one. criticise:
    (prompt, best response) -> words, none by default. refiner: what answers rewritten prompts, by default `sampler`.
    All N responses come back, with the judge's scores; put `BestAndWorst` around it for the best. Of a refined response
    no log-prob is known under the prompt alone.

    Ye and Ng 2024 (preference-guided reflective sampling).
    """

    def __init__(
        self,
        sampler: Sampler,
        judge: Judge,
        rewrite: Callable[[Prompt, str, str], Prompt],
        *,
        criticise: Callable[[Prompt, str], str] = lambda prompt, best: "",
        refiner: Sampler | None = None,
    ) -> None:
        self.sampler, self.judge, self.rewrite, self.criticise = sampler, judge, rewrite, criticise
        self.refiner = refiner or sampler
        how = f"refined from the best of {len(sampler.laws)} by {judge.name}"
        self.laws = (*sampler.laws, *(replace(law, selection=how) for law in self.refiner.laws))

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, all draws)."""
        for start in range(0, len(prompts), CHUNK):
            some, own = prompts[start : start + CHUNK], seeds[start : start + CHUNK]
            found = dict(self.sampler.sample(some, own))
            first = [found[i] for i in range(len(some))]
            asked = [self._asked(drawn, told) for drawn, told in zip(first, scores(self.judge, first), strict=True)]
            again = dict(self.refiner.sample(asked, [hashed(seed, "refined") for seed in own]))
            laws = self.laws[len(self.sampler.laws) :]
            for i, drawn in enumerate(first):
                refined = [replace(s, law=law, logp=None) for s, law in zip(again[i].samples, laws, strict=True)]
                both = replace(drawn, samples=(*drawn.samples, *refined))
                told = scores(self.judge, [both])[0]
                known = [replace(s, score=_or_none(v)) for s, v in zip(both.samples, told, strict=True)]
                yield start + i, replace(both, samples=tuple(known))

    def _asked(self, drawn: Drawn, told: Any) -> Prompt:
        if not np.isfinite(told).any():
            return drawn.prompt
        best = drawn.samples[int(np.nanargmax(told))].text
        return self.rewrite(drawn.prompt, best, self.criticise(drawn.prompt, best))


class Until:
    """Draws in small lots until one is good enough; the best of them, or nothing.

    sampler: draws a lot of n. judge: with rewards whose zero means something: above is acceptable. budget: N draws at
    most. threshold: draws so far -> the reward that ends the search; 0 saves draws, one that grows with N guards
    against the luck of many. abstain: a prompt whose best stays at or below the threshold comes back without samples.
    `meta` of the sample says how many draws there were.

    Rho 2025 (best of mini-N in-loop).
    """

    def __init__(
        self,
        sampler: Sampler,
        judge: Judge,
        budget: int,
        *,
        threshold: Callable[[int], float] = lambda draws: 0.0,
        abstain: bool = True,
    ) -> None:
        if not gives_rewards(judge):
            raise OptionError(f"the judge '{judge.name}' only compares, and so knows no good enough; give rewards")
        if len(set(sampler.laws)) != 1 or budget < len(sampler.laws):
            raise OptionError("draw lots of one law, and at least one lot within the budget")
        self.sampler, self.judge, self.budget = sampler, judge, budget
        self.threshold, self.abstain = threshold, abstain
        how = f"best of up to {budget} in lots of {len(sampler.laws)} by {judge.name}"
        self.laws = (replace(sampler.laws[0], selection=how),)

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, the best, if any)."""
        lot = len(self.sampler.laws)
        best: dict[int, tuple[float, Drawn, Sample]] = {}
        going = list(range(len(prompts)))
        for draws in range(lot, self.budget + 1, lot):
            found = self.sampler.sample([prompts[i] for i in going], [hashed(seeds[i], "lot", draws) for i in going])
            drawn = dict(found)
            told = scores(self.judge, [drawn[at] for at in range(len(going))])
            left = []
            for at, place in enumerate(going):
                for value, sample in zip(told[at].tolist(), drawn[at].samples, strict=True):
                    if math.isfinite(value) and (place not in best or value > best[place][0]):
                        best[place] = value, drawn[at], sample
                good = place in best and best[place][0] > self.threshold(draws)
                if good or draws + lot > self.budget:
                    yield place, self._ended(drawn[at], best.get(place), draws, good)
                else:
                    left.append(place)
            going = left

    def _ended(self, last: Drawn, best: tuple[float, Drawn, Sample] | None, draws: int, good: bool) -> Drawn:
        if best is None or (self.abstain and not good):
            return replace(last, samples=())
        value, drawn, sample = best
        return replace(drawn, samples=(replace(sample, law=self.laws[0], score=value, meta={"draws": draws}),))


@dataclass
class Node:
    """A step in a tree: its own tokens, its reward, how often the search came by, and the steps after it.

    prior: how likely the policy finds the step, exp of its mean log-prob a token.
    """

    tokens: tuple[int, ...] = ()
    logp: tuple[float, ...] = ()
    stop: str = "stop"
    reward: float = 0.0
    visits: int = 0
    children: list[Node] = field(default_factory=list)

    @property
    def prior(self) -> float:
        """Length-normalised chance of the step."""
        return math.exp(sum(self.logp) / len(self.logp)) if self.logp else 1.0

    def value(self, gamma: float = 1.0) -> float:
        """Q = r + gamma V, V the mean of the children's Q weighted by max(1, visits); Q = r of a leaf.

        >>> Node(reward=0.1, children=[Node(reward=1.0, visits=3), Node(reward=0.0, visits=1)]).value()
        0.85
        """
        if not self.children:
            return self.reward
        weights = [max(1, child.visits) for child in self.children]
        mean = sum(w * c.value(gamma) for w, c in zip(weights, self.children, strict=True)) / sum(weights)
        return self.reward + gamma * mean

    def leaves(self) -> list[float]:
        """Rewards of all ends below: their mean is the value in trees of plan, draft and revision."""
        return [r for child in self.children for r in child.leaves()] if self.children else [self.reward]


@dataclass(frozen=True)
class StepPair:
    """Two steps after the same beginning. smoothing: min(1 - N_w / (N_w + N_l), 1/2), how doubtful the label is."""

    prefix: tuple[int, ...]
    better: Node
    worse: Node
    smoothing: float


def step_pairs(root: Node, *, value: Callable[[Node], float] = Node.value) -> list[StepPair]:
    """At each depth of the path along the best steps: the best against the worst of the steps there.

    Steps of equal value make no pair. value: `Node.value`, or the mean of the ends below.

    >>> tree = Node(children=[Node((1,), reward=1.0, visits=9), Node((2,), reward=0.0, visits=3)])
    >>> [(p.better.tokens, p.worse.tokens, p.smoothing) for p in step_pairs(tree)]
    [((1,), (2,), 0.25)]
    """
    found, node, prefix = [], root, root.tokens
    while node.children:
        best, worst = max(node.children, key=value), min(node.children, key=value)
        if value(best) > value(worst):
            share = best.visits / max(1, best.visits + worst.visits)
            found.append(StepPair(prefix, best, worst, min(1 - share, 0.5)))
        node, prefix = best, prefix + best.tokens
    return found


class TreeSearch:
    """Pairs of steps by tree search: responses that share a beginning and part where the better step was found.

    sampler: a `PolicySampler` whose `ended` says where a step ends. judge: gives rewards: of whole responses their
    outcome, of beginnings how promising they look. simulations: walks from the root, each to a step not seen and back.
    breadth, root_breadth: steps tried after each and at the root. depth: steps at most. c: weight of the prior in
    Q + c p sqrt(N_parent) / (1 + N). Samples come in pairs, better before worse; the tokens before a step are `given`,
    and `meta` has the visits and the label's `smoothing`.

    Xie et al. 2024 (MCTS-DPO; reference implementation); with `mean` values Wu et al. 2025 (SuperWriter), as described
    by its authors.
    """

    def __init__(
        self,
        sampler: PolicySampler,
        judge: Judge,
        *,
        simulations: int = 16,
        breadth: int = 3,
        root_breadth: int = 5,
        depth: int = 4,
        c: float = 1.0,
        gamma: float = 1.0,
        values: Literal["visits", "mean"] = "visits",
    ) -> None:
        if not gives_rewards(judge):
            raise OptionError(f"the judge '{judge.name}' only compares; a tree backs rewards up")
        if min(simulations, breadth, root_breadth, depth) < 1:
            raise OptionError("simulations, breadths and depth are at least 1")
        self.sampler, self.judge, self.simulations = sampler, judge, simulations
        self.breadth, self.root_breadth, self.depth, self.c, self.gamma = breadth, root_breadth, depth, c, gamma
        self.values = values
        self.laws: tuple[Law, ...] = (replace(sampler.laws[0], selection="steps of a tree"),) * 2

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, pairs of responses that part at a step)."""
        for place, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            ids = self.sampler.prompt_ids(prompt)
            pairs = step_pairs(self.search(prompt, ids, seed), value=self.value)
            samples = [self._sample(pair, node, seed) for pair in pairs for node in (pair.better, pair.worse)]
            yield place, Drawn(prompt, tuple(ids), tuple(samples))

    def value(self, node: Node) -> float:
        """What a step is worth by the rule of this search."""
        return float(np.mean(node.leaves())) if self.values == "mean" else node.value(self.gamma)

    def search(self, prompt: Prompt, ids: Sequence[int], seed: int) -> Node:
        """The tree after all simulations."""
        root = Node()
        for walk in range(self.simulations):
            path, node = [root], root
            while node.children:
                node = self._chosen(node)
                path.append(node)
            if len(path) <= self.depth and (node is root or (node.stop == "stop" and node.visits)):
                self._expand(node, path, prompt, ids, hashed(seed, walk))
                node = self._chosen(node)
                path.append(node)
            for each in path:
                each.visits += 1
        return root

    def _chosen(self, node: Node) -> Node:
        pull = self.c * math.sqrt(max(1, node.visits))
        return max(node.children, key=lambda child: self.value(child) + pull * child.prior / (1 + child.visits))

    def _expand(self, node: Node, path: Sequence[Node], prompt: Prompt, ids: Sequence[int], seed: int) -> None:
        before = [token for each in path for token in each.tokens]
        count = self.root_breadth if len(path) == 1 else self.breadth
        drawn = dict(self.sampler.draw([[*ids, *before]], [[hashed(seed, k) for k in range(count)]]))[0]
        # The same step twice is one step.
        steps = list({tuple(one.tokens): one for one in drawn}.values())
        texts = [self.sampler.tokenizer.decode([*before, *one.tokens], skip_special_tokens=True) for one in steps]
        judge: Any = self.judge
        told = judge.reward([prompt] * len(texts), texts)
        node.children = [
            Node(tuple(one.tokens), tuple(one.logp), one.stop, float(r))
            for one, r in zip(steps, told, strict=True)
            if np.isfinite(r)
        ]
        if not node.children:
            raise OptionError(f"the judge '{judge.name}' has no answer to any step of a tree; see its record")

    def _sample(self, pair: StepPair, node: Node, seed: int) -> Sample:
        tokens = pair.prefix + node.tokens
        text = self.sampler.tokenizer.decode(tokens, skip_special_tokens=True)
        logp = (0.0,) * len(pair.prefix) + node.logp
        meta = {"visits": node.visits, "smoothing": pair.smoothing}
        given = len(pair.prefix)
        return Sample(text, tokens, logp, node.stop, seed, self.laws[0], given=given, score=self.value(node), meta=meta)


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
