"""Samplers of language models: draws of a snapshot or a mixture, side by side, of the data, and the best of many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pluralign.errors import BadRow, OptionError
from pluralign.feedback import Feedback
from pluralign.online.drawn import Drawn, Law, Prompt, Sample, Sampler, hashed, prompt_key
from pluralign.online.judges import Array, Judge, Rewarding
from pluralign.policy.encode import Encoder
from pluralign.policy.generate import Continuation, Writer, fitting, generate
from pluralign.policy.nucleus import distribution

CHUNK = 32
"""Prompts drawn or judged together: what a kill can lose."""


class PolicySampler:
    """Independent draws of a policy snapshot, or of a geometric mixture of several, token by token.

    snapshots: models (or `Writer`s) by name. law: exponents of those that write, {"previous": 1.0} say, or
    {"previous": 0.5, "reference": 0.5} (Munos et al. 2023, Nash-MD), or {"half": 1.0} for the policy of a half-step
    (Zhou et al. 2025, EGPO). count: responses a prompt. settings: `max_new_tokens`, and of `temperature` (0:
    the most probable token), `top_p` and `top_k` what is not as usual. prefix: (prompt, seed) -> tokens that every
    response to it begins with, to be continued. ended: whether tokens so far are a whole response, beside EOS.

    Prompts that the model's window does not hold lose their beginning. Raises `OptionError`.
    """

    def __init__(
        self,
        snapshots: Mapping[str, Any],
        tokenizer: Any,
        law: Mapping[str, float],
        count: int,
        settings: Mapping[str, Any],
        *,
        prefix: Callable[[Prompt, int], Sequence[int]] | None = None,
        ended: Callable[[list[int]], bool] | None = None,
    ) -> None:
        if missing := [name for name in law if name not in snapshots]:
            raise OptionError(f"there is no snapshot '{missing[0]}' to draw from; there are {', '.join(snapshots)}")
        if abs(sum(law.values()) - 1) > 1e-9:
            raise OptionError(f"exponents of a geometric mixture sum to 1; got {dict(law)}")
        found = [(snapshots[name], weight) for name, weight in law.items()]
        self.writers = [replace(m, weight=w) if isinstance(m, Writer) else Writer(m, w) for m, w in found]
        self.tokenizer, self.encoder, self.settings = tokenizer, Encoder(tokenizer), dict(settings)
        bent = {name: self.settings[name] for name in ("temperature", "top_p", "top_k") if name in self.settings}
        selection = "after a given prefix" if prefix else ""
        self.laws = (Law(tuple(law.items()), **bent, selection=selection),) * count
        self.prefix, self.ended = prefix, ended

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, what was drawn), chunk by chunk."""
        for start in range(0, len(prompts), CHUNK):
            some, own = prompts[start : start + CHUNK], seeds[start : start + CHUNK]
            ids = [self.prompt_ids(prompt) for prompt in some]
            given = [list(self.prefix(p, s)) if self.prefix else [] for p, s in zip(some, own, strict=True)]
            each = [[hashed(seed, k) for k in range(len(self.laws))] for seed in own]
            for place, found in self.draw([a + b for a, b in zip(ids, given, strict=True)], each):
                samples = [
                    self._sample(one, given[place], own[place], law) for one, law in zip(found, self.laws, strict=True)
                ]
                yield start + place, Drawn(some[place], tuple(ids[place]), tuple(samples))

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The tokens that the model is given."""
        whole = self.encoder.encode(prompt, []).prompt_ids
        return fitting(whole, self.writers[0].model, self.tokenizer, self.settings["max_new_tokens"])

    def draw(
        self, ids: Sequence[Sequence[int]], seeds: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, list[Continuation]]]:
        """Continuations of token ids under the law, one for each seed."""
        eos = self.tokenizer.eos_token_id
        yield from generate(self.writers, ids, seeds, eos=eos, ended=self.ended, **self.settings)

    @torch.no_grad()
    def log_probs(self, prompt_ids: Sequence[int], response: Sequence[int]) -> list[float]:
        """Log-prob of each token of any response under the law, -inf where it cannot draw it."""
        total = torch.zeros(())
        for writer in self.writers:
            ids = torch.tensor([[*prompt_ids, *response]], device=writer.model.device)
            with writer.context():
                logits = writer.model(input_ids=ids).logits[0, len(prompt_ids) - 1 : -1]
            total = total + writer.weight * logits.double().log_softmax(-1)
        law = self.laws[0]
        if law.temperature == 0:
            chosen = total.argmax(-1).tolist()
            return [0.0 if a == b else -np.inf for a, b in zip(chosen, response, strict=True)]
        logp = distribution(total, temperature=law.temperature, top_p=law.top_p, top_k=law.top_k)
        return [float(row[token]) for row, token in zip(logp, response, strict=True)]

    def _sample(self, one: Continuation, given: list[int], seed: int, law: Law) -> Sample:
        tokens = [*given, *one.tokens]
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        logp = (0.0,) * len(given) + tuple(one.logp)
        return Sample(text, tuple(tokens), logp, one.stop, seed, law, given=len(given))


class Together:
    """Several samplers side by side: the responses of each to the same prompt, in order.

    One draw of the policy and one of the reference is XPO's (Xie et al. 2024), of the policy and of a geometric mixture
    Nash-MD's.
    """

    def __init__(self, *samplers: Sampler) -> None:
        self.samplers = samplers
        self.laws = tuple(law for sampler in samplers for law in sampler.laws)

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, what all drew)."""
        for start, some, own in _chunks(prompts, seeds):
            found = [
                dict(sampler.sample(some, [hashed(seed, i) for seed in own])) for i, sampler in enumerate(self.samplers)
            ]
            for place in range(len(some)):
                parts = [each[place] for each in found]
                yield start + place, replace(parts[0], samples=tuple(s for part in parts for s in part.samples))


class Recalled:
    """Responses that people wrote or chose: the two sides of a pair of the feedback, the preferred one first.

    Of several pairs with the prompt the seed chooses. Their law is "data", which has no log-probs. Raises `OptionError`
    for a prompt without a pair.
    """

    def __init__(self, feedback: Feedback, tokenizer: Any) -> None:
        self.laws = (Law.of("data"),) * 2
        self.tokenizer, self.encoder = tokenizer, Encoder(tokenizer)
        self._pairs: dict[str, list[Any]] = {}
        for j in feedback.pairs():
            if j.ranks is not None and sorted(r for r in j.ranks if r is not None) == [1, 2]:
                first, second = j.responses if j.ranks[0] == 1 else j.responses[::-1]
                self._pairs.setdefault(prompt_key(j.prompt), []).append((first.messages, second.messages))

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, the pair)."""
        for place, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            known = self._pairs.get(prompt_key(prompt))
            if not known:
                raise OptionError(f"no pair of the feedback has the prompt {prompt_key(prompt)[:80]}; leave it out")
            pair = known[hashed(seed) % len(known)]
            try:
                row = self.encoder.encode(prompt, pair)
            except BadRow as error:
                raise OptionError(f"a pair of the prompt {prompt_key(prompt)[:80]} cannot be used: {error}") from None
            texts = [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in row.response_ids]
            samples = [
                Sample(text, tuple(ids), None, "eos", seed, law)
                for text, ids, law in zip(texts, row.response_ids, self.laws, strict=True)
            ]
            yield place, Drawn(prompt, tuple(row.prompt_ids), tuple(samples))


class Mixer:
    """Each prompt's responses from `on` with probability `share`, else from `off`, by the prompt's seed.

    Li and Khashabi 2025 (SimpleMix), with `off` a `Recalled`. Both give as many responses; each says its own law.
    """

    def __init__(self, on: Sampler, off: Sampler, share: float = 0.5) -> None:
        if not 0 <= share <= 1:
            raise OptionError(f"the share of on-policy pairs is from 0 to 1; got {share}")
        if len(on.laws) != len(off.laws):
            raise OptionError(f"one sampler draws {len(on.laws)} responses and the other {len(off.laws)}; draw as many")
        self.on, self.off, self.share = on, off, share
        self.laws = tuple(
            replace(a, weights=(*a.weights, *b.weights), selection=f"the first with chance {share:g}, else the second")
            for a, b in zip(on.laws, off.laws, strict=True)
        )

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, what one of the two drew)."""
        chosen = [hashed(seed, "on or off") < self.share * 2**63 for seed in seeds]
        for sampler, side in ((self.on, True), (self.off, False)):
            places = [i for i, which in enumerate(chosen) if which is side]
            for at, drawn in sampler.sample([prompts[i] for i in places], [seeds[i] for i in places]):
                yield places[at], drawn


class BestAndWorst:
    """The best of K draws by a judge, and with worst=True the worst behind it.

    Rewards rank them; a judge that only compares is asked about all pairs, and the mean chance ranks. temperature: 0
    for the very best, else a draw with probability softmax(reward / temperature) (soft best of n; the exponential tilt
    of the draws' law when K is large). Equal values go to the earlier draw. margin: a prompt whose best and worst lie
    no further apart comes back without samples; 0 leaves ties out. A draw without an answer takes no part, and a prompt
    with too few answers comes back without samples too.

    Stiennon et al. 2020; iterative DPO's pair. `score` of a sample is its reward or mean chance.
    """

    def __init__(
        self,
        sampler: Sampler,
        judge: Judge,
        *,
        worst: bool = True,
        temperature: float = 0.0,
        margin: float | None = None,
    ) -> None:
        if temperature < 0 or (worst and temperature > 0):
            raise OptionError("a temperature is not below 0, and of softly chosen draws there is no worst")
        if margin is not None and (margin < 0 or not worst):
            raise OptionError("a margin is that between best and worst, and not below 0")
        self.sampler, self.judge, self.worst, self.temperature = sampler, judge, worst, temperature
        self.margin = margin
        k, law = len(sampler.laws), sampler.laws[0]
        how = f"of {k} by {judge.name}" if not temperature else f"softly of {k} at {temperature:g} by {judge.name}"
        if others := [str(other) for other in dict.fromkeys(sampler.laws) if other != law]:
            how += f" together with {'; '.join(others)}"
        how += "" if margin is None else f" if more than {margin:g} apart"
        sides = ("best", "worst") if worst else ("best",)
        self.laws = tuple(replace(law, selection=f"{side} {how}") for side in sides)

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, the best and the worst)."""
        for start, some, own in _chunks(prompts, seeds):
            found = dict(self.sampler.sample(some, own))
            drawn = [found[i] for i in range(len(some))]
            for place, values in enumerate(scores(self.judge, drawn)):
                yield start + place, replace(drawn[place], samples=self._kept(drawn[place], values, own[place]))

    def _kept(self, drawn: Drawn, values: Array, seed: int) -> tuple[Sample, ...]:
        known = np.flatnonzero(np.isfinite(values))
        if len(known) < len(self.laws):
            return ()
        told = values[known]
        if self.margin is not None and np.ptp(told) <= self.margin:
            return ()
        if self.temperature:
            chances = np.exp((told - told.max()) / self.temperature)
            first = np.random.default_rng(hashed(seed, "best")).choice(len(told), p=chances / chances.sum())
        else:
            first = int(told.argmax())
        # Of equal ones the last stands for the worst, so that a pair is never one draw twice.
        places = [first, len(told) - 1 - int(told[::-1].argmin())] if self.worst else [first]
        return tuple(
            replace(drawn.samples[known[i]], law=law, score=float(told[i]))
            for i, law in zip(places, self.laws, strict=True)
        )


def scores(judge: Judge, drawn: Sequence[Drawn]) -> list[Array]:
    """What a judge finds of each prompt's samples, [K] each: rewards, or the mean chance against the others.

    Both orders of a pair are one question, asked in the order of the draws. nan where there is no answer; a pair
    without one leaves the mean to the others.
    """
    if gives_rewards(judge):
        rows = [(d.prompt, s.text) for d in drawn for s in d.samples]
        flat = judge.reward([x for x, _ in rows], [y for _, y in rows]) if rows else np.zeros(0)  # type: ignore[attr-defined]
        return np.split(np.asarray(flat, dtype=np.float64), np.cumsum([len(d.samples) for d in drawn])[:-1])
    asked = [(n, i, j) for n, d in enumerate(drawn) for j in range(len(d.samples)) for i in range(j)]
    said = judge.prob(
        [drawn[n].prompt for n, _, _ in asked],
        [drawn[n].samples[i].text for n, i, _ in asked],
        [drawn[n].samples[j].text for n, _, j in asked],
    )
    tables = [np.full((len(d.samples),) * 2, np.nan) for d in drawn]
    for (n, i, j), p in zip(asked, said, strict=True):
        tables[n][i, j], tables[n][j, i] = p, 1 - p
    return [_means(table) for table in tables]


def gives_rewards(judge: Any) -> bool:
    """Whether a judge, or the one whose answers are recorded, gives rewards."""
    return isinstance(getattr(judge, "judge", judge), Rewarding)


def _means(table: Array) -> Array:
    known = np.isfinite(table)
    count = known.sum(1)
    return np.where(count > 0, np.where(known, table, 0).sum(1) / np.maximum(count, 1), np.nan)


def _chunks(prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Sequence[Prompt], Sequence[int]]]:
    for start in range(0, len(prompts), CHUNK):
        yield start, prompts[start : start + CHUNK], seeds[start : start + CHUNK]
