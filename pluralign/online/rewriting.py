"""Pairs whose better side hardly leads, with that side rewritten by a critic from where the two part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pluralign.errors import OptionError
from pluralign.online.drawn import Drawn, Prompt, Sample, Sampler
from pluralign.online.judges import Judge
from pluralign.online.samplers import gives_rewards

Rewrite = Callable[[Prompt, str, str], str]
"""(prompt, the beginning that both sides share, how the better side goes on) -> how it should go on."""


class Rewritten:
    """The pairs of another sampler; where their scores differ by less than `margin`, the better side is rewritten.

    sampler: pairs, the better first, with scores (`TreeSearch`, `BestAndWorst`). judge: gives the rewards that the
    scores are. What is rewritten is what follows the tokens that both sides were `given`, so that a pair still parts at
    one step; it is taken where the judge finds it no worse than what it stands for. A rewritten side has no log-probs,
    and `meta` says `rewritten`.

    Ping et al. 2025 (LongDPO; that the judge is asked again is ours, the margin is as described by its authors).
    """

    def __init__(self, sampler: Sampler, judge: Judge, rewrite: Rewrite, tokenizer: Any, *, margin: float) -> None:
        if not gives_rewards(judge):
            raise OptionError(f"the judge '{judge.name}' only compares; whether a pair is close is told by rewards")
        if len(sampler.laws) != 2 or margin <= 0:
            raise OptionError("rewriting wants a sampler of pairs and a margin above 0")
        self.sampler, self.judge, self.rewrite, self.tokenizer = sampler, judge, rewrite, tokenizer
        self.margin = margin
        better, worse = sampler.laws
        how = f"{better.selection}, rewritten where it leads by less than {margin:g}".removeprefix(", ")
        self.laws = (replace(better, selection=how), worse)

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, pairs, the better side first)."""
        for place, drawn in self.sampler.sample(prompts, seeds):
            better = [replace(s, law=self.laws[0]) for s in drawn.samples[::2]]
            mended = self._mended(drawn.prompt, better, drawn.samples[1::2])
            both = zip(mended, drawn.samples[1::2], strict=True)
            yield place, replace(drawn, samples=tuple(s for pair in both for s in pair))

    def _mended(self, prompt: Prompt, better: Sequence[Sample], worse: Sequence[Sample]) -> list[Sample]:
        close = [i for i, (a, b) in enumerate(zip(better, worse, strict=True)) if _score(a) - _score(b) < self.margin]
        found = list(better)
        written = [self._written(prompt, better[i]) for i in close]
        judge: Any = self.judge
        told = judge.reward([prompt] * len(written), [s.text for s in written]) if written else ()
        for i, sample, reward in zip(close, written, told, strict=True):
            if np.isfinite(reward) and reward >= _score(better[i]):
                found[i] = replace(sample, score=float(reward))
        return found

    def _written(self, prompt: Prompt, sample: Sample) -> Sample:
        beginning, rest = sample.tokens[: sample.given], sample.tokens[sample.given :]
        words = [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in (beginning, rest)]
        step = self.tokenizer(self.rewrite(prompt, *words), add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        tokens = (*beginning, *step, *((end,) if rest[-1:] == (end,) else ()))
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return replace(sample, text=text, tokens=tokens, logp=None, meta={**sample.meta, "rewritten": True})


def _score(sample: Sample) -> float:
    if sample.score is None:
        raise OptionError("rewriting wants pairs with scores; put BestAndWorst or TreeSearch inside")
    return sample.score
