"""The samples of a run: which prompts a round asks, and draws of its snapshots, on disk as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from pluralign.errors import OptionError
from pluralign.feedback.record import Message, plain
from pluralign.online.drawn import Drawn, Law, Prompt, Sample, Sampler, collect, hashed, prompt_key, walk
from pluralign.online.folder import OnlineRun
from pluralign.online.samplers import PolicySampler
from pluralign.online.samples import Anchors
from pluralign.online.settings import OnlineOptions
from pluralign.policy.encode import Encoder
from pluralign.progress import bar

SamplerOf = Callable[[Mapping[str, Any], Any, Mapping[str, float], int, Mapping[str, Any]], Sampler]
"""(models by name, tokenizer, exponents of their geometric mixture, responses a prompt, settings) -> a sampler.

settings: `max_new_tokens` and `temperature`, 0 for the most probable response. See `PolicySampler`.
"""


@dataclass(frozen=True)
class Drawing:
    """Draws of a run's snapshots; what is on disk is not drawn again.

    snapshots: models by name, as they are at the time of a draw. answers: what people wrote, by prompt.
    """

    folder: OnlineRun
    settings: OnlineOptions
    tokenizer: Any
    encoder: Encoder
    sampler_of: SamplerOf
    snapshots: Mapping[str, Any]
    answers: Mapping[str, tuple[Message, ...]]
    console: Console

    def draw(self, prompts: Sequence[Prompt], law: Anchors, count: int, number: int, name: str) -> list[list[Drawn]]:
        """Of each prompt the groups of responses that the sampler found, one of `count` draws as a rule.

        Kept in NAME.jsonl of a round; people's own where the law is `data`. Raises `OptionError` where people wrote
        nothing.
        """
        if "data" in law:
            return [[self._written(prompt)] for prompt in prompts]
        sampler = self.sampler_of(self.snapshots, self.tokenizer, dict(law), count, self._how({}))
        found = self._collected(sampler, prompts, number, name)
        return [groups(drawn, len(sampler.laws)) for drawn in found]

    def plain(self, prompts: Sequence[Prompt], law: Anchors, number: int, name: str, **bent: float) -> list[Drawn]:
        """One draw a prompt of the law itself, also where the run's sampler selects or searches.

        bent: settings that differ from the run's.
        """
        given = self.snapshots, self.tokenizer, dict(law), 1, self._how(bent)
        sampler = self.sampler_of(*given)
        if len(sampler.laws) != 1 or sampler.laws[0].selection:
            sampler = PolicySampler(*given)
        return self._collected(sampler, prompts, number, name)

    def _how(self, bent: Mapping[str, float]) -> dict[str, Any]:
        return {"max_new_tokens": self.settings.max_new_tokens, "temperature": self.settings.temperature, **bent}

    def _collected(self, sampler: Sampler, prompts: Sequence[Prompt], number: int, name: str) -> list[Drawn]:
        path = self.folder.round_path(number) / f"{name}.jsonl"
        with bar(f"round {number}: {name}", len(prompts), self.console) as step:
            return collect(sampler, prompts, seed=hashed(self.settings.seed, number, name), path=path, progress=step)

    def _written(self, prompt: Prompt) -> Drawn:
        answer = self.answers.get(prompt_key(prompt))
        if answer is None:
            raise OptionError(
                f"{self.settings.learner} learns beside answers that people gave; give feedback with a response to "
                "every prompt in place of prompts alone"
            )
        row = self.encoder.encode(prompt, [answer])
        sample = Sample(plain(answer), tuple(row.response_ids[0]), None, "eos", 0, Law.of("data"))
        return Drawn(prompt, tuple(row.prompt_ids), (sample,))


def groups(drawn: Drawn, size: int) -> list[Drawn]:
    """Responses to a prompt in groups of `size`: none where a sampler found nothing good enough, several of a tree.

    >>> samples = tuple(Sample(c, (), None, "eos", 0, Law.of("policy")) for c in "abcd")
    >>> [[s.text for s in each.samples] for each in groups(Drawn((), (), samples), 2)]
    [['a', 'b'], ['c', 'd']]
    """
    starts = range(0, len(drawn.samples), size)
    return [replace(drawn, samples=drawn.samples[at : at + size]) for at in starts]


def asked_in(number: int, prompts: Sequence[Prompt], settings: OnlineOptions) -> list[Prompt]:
    """The prompts of a round, counted from 1: the next `prompts_per_round` ones."""
    size = min(settings.prompts_per_round or len(prompts), len(prompts))
    return [prompts[i] for i in walk(len(prompts), (number - 1) * size, size, settings.seed)]
