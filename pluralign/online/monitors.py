"""What a run is watched by: gap, drift, length, and whether the judge in the loop and those outside it agree.

All figures of a round are of fresh samples on the same prompts, which the policy is not trained on, against samples
of the reference on them; the prompts are the units of every interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign.evaluate.figures import mean, share
from pluralign.intervals import bootstrap, clustered_t
from pluralign.online.drawn import Drawn, Prompt
from pluralign.online.judges import Judge, Recorded, Rewarding
from pluralign.online.kl import estimate
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded
from pluralign.policy.logprobs import logprobs

Array = NDArray[np.float64]
BATCH = 16


@dataclass
class Monitors:
    """Watches a run round by round. The start model, which is the reference, is round 0: against itself it wins half.

    judges: by what they are called in the metrics; "proxy" is the judge in the loop, "independent" and "gold" are not
    learnt from. groups: judges of single groups, of which the worst off is told. reference: its samples. opponents:
    samples of earlier policies, newest last, that the duality gap is estimated against, at most `most`.
    """

    prompts: Sequence[Prompt]
    judges: Mapping[str, Judge]
    groups: Mapping[str, Judge]
    reference: Sequence[Drawn]
    most: int = 4
    opponents: list[Sequence[Drawn]] = field(default_factory=list)
    wins: dict[str, list[Array]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wins = {name: [np.full(len(self.prompts), 0.5)] for name in self.judges}

    def watch(self, drawn: Sequence[Drawn], model: Any, reference: Any) -> dict[str, Any]:
        """Figures of a policy from its samples on the prompts, flat, for a line of metrics.jsonl.

        NAME/win_rate: how often its samples are preferred to the reference's, with _low and _high.
        NAME/reward: their mean reward, where the judge gives one. gap: the duality
        gap of the unregularised game, at least this large (see `gap`). kl: by k1 and by k3, nats a response. entropy:
        nats a token. worst_group/win_rate: of the group that prefers it least. warnings: sentences.
        """
        line: dict[str, Any] = self._of_tokens(drawn, model, reference)
        against = [self.reference, *self.opponents[-self.most :]]
        self.remember(drawn)
        for name, rounds in self.wins.items():
            line |= _spelled(f"{name}/win_rate", rounds[-1], chance=True)
        for name, judge in self.judges.items():
            if isinstance(judge, Recorded) and isinstance(judge.judge, Rewarding):
                said = judge.reward(list(self.prompts), [d.samples[0].text for d in drawn])
                line |= _spelled(f"{name}/reward", said)
        if self.groups:
            each = {name: self._won(judge, drawn, self.reference) for name, judge in self.groups.items()}
            for name, won in each.items():
                line |= _spelled(f"group {name}/win_rate", won, chance=True)
            worst = min(each, key=lambda name: float(np.nanmean(each[name])))
            line |= _spelled("worst_group/win_rate", each[worst], chance=True) | {"worst_group": worst}
        if self.most and "proxy" in self.judges:
            line |= gap([self._won(self.judges["proxy"], drawn, other) for other in against])
        if warning := hacking(self.wins):
            line["warnings"] = [warning]
        return line

    def remember(self, drawn: Sequence[Drawn]) -> None:
        """Take a round's samples for the comparisons to come."""
        for name, judge in self.judges.items():
            self.wins[name].append(self._won(judge, drawn, self.reference))
        self.opponents.append(drawn)

    def _won(self, judge: Judge, ours: Sequence[Drawn], theirs: Sequence[Drawn]) -> Array:
        """Chance [n] that our sample is preferred on each prompt, nan without an answer; equal texts one half."""
        pairs = [(a.samples[0].text, b.samples[0].text) for a, b in zip(ours, theirs, strict=True)]
        apart = [i for i, (a, b) in enumerate(pairs) if a != b]
        found = np.full(len(pairs), 0.5)
        if apart:
            found[apart] = judge.prob([self.prompts[i] for i in apart], *zip(*(pairs[i] for i in apart), strict=True))
        return found

    @torch.no_grad()
    def _of_tokens(self, drawn: Sequence[Drawn], model: Any, reference: Any) -> dict[str, Any]:
        ratios, entropies = [], []
        rows = [
            Encoded(list(d.prompt_ids), (list(d.samples[0].tokens),), ([True] * len(d.samples[0].tokens),))
            for d in drawn
        ]
        for start in range(0, len(rows), BATCH):
            tokens = collate(rows[start : start + BATCH], pad_id=0).to(model.device)
            ours = logprobs(model, tokens, extras=["entropy"])
            theirs = logprobs(reference, tokens).logp
            ratios.append((ours.logp - theirs).double().cpu().numpy()[:, 0])
            assert ours.extras is not None
            entropies.append((ours.extras["entropy"].sum(-1) / ours.length).double().cpu().numpy()[:, 0])
        ratio = np.concatenate(ratios)
        return {
            **_spelled("kl", ratio),
            "kl_k3": float(estimate(np.clip(ratio, -50, None), "k3").mean()),
            **_spelled("entropy", np.concatenate(entropies)),
            **_spelled("length", np.array([float(len(d.samples[0].tokens)) for d in drawn])),
            "unfinished": float(np.mean([d.samples[0].stop == "length" for d in drawn])),
        }


def gap(won: Sequence[Array]) -> dict[str, float]:
    """The duality gap 2 max_q P(q > pi) - 1, from chances [n] that pi is preferred to each of some opponents q.

    A lower bound, for the best answer to pi need not be among them; pi itself always is, so it is never negative. The
    interval is a bootstrap over prompts, each draw with its own strongest opponent.

    >>> found = gap([np.full(50, 0.4), np.full(50, 0.7)])
    >>> round(found["gap"], 6), round(found["gap_high"], 6)
    (0.2, 0.2)
    """
    lost = 1 - np.stack(won, axis=1)
    lost = lost[np.isfinite(lost).all(1)]
    if not len(lost):
        return {}

    def largest(rows: Array) -> float:
        return float(max(2 * rows.mean(0).max() - 1, 0.0))

    low, high = bootstrap(largest, lost)
    return {"gap": largest(lost), "gap_low": low, "gap_high": high}


def hacking(wins: Mapping[str, Sequence[Array]]) -> str | None:
    """A warning where the judge in the loop goes up while one outside it goes down, from where it stood highest.

    wins: by judge, chances [n] of each look, the start's first. Both differences are prompt by prompt and must be told
    from zero with 95% confidence.

    >>> rng = np.random.default_rng(0)
    >>> noise = lambda: 0.05 * rng.standard_normal(40)
    >>> said = hacking({"proxy": [0.5 + noise(), 0.8 + noise()], "independent": [0.6 + noise(), 0.3 + noise()]})
    >>> str(said).partition(" and ")[0]
    'reward hacking: since the start the win rate under the judge in the loop rose by 0.32'
    """
    proxy = wins.get("proxy", ())
    for name in ("gold", "independent"):
        outside = wins.get(name, ())
        if len(outside) < 2 or not proxy:
            continue
        best = int(np.argmax([np.nanmean(won) for won in outside[:-1]]))
        up, down = _change(proxy, best), _change(outside, best)
        if up is not None and down is not None and up[1] > 0 and down[2] < 0:
            then = f"round {best}" if best else "the start"
            return (
                f"reward hacking: since {then} the win rate under the judge in the loop rose by {up[0]:.2f} and under "
                f"the {name} judge fell by {-down[0]:.2f}; go back to {then}, hold the policy closer to its reference, "
                "or mend the judge"
            )
    return None


def _change(won: Sequence[Array], since: int) -> tuple[float, float, float] | None:
    """How much the last round's win rate exceeds that of round `since`, with its ends; None where nothing is known."""
    each = won[-1] - won[since]
    each = each[np.isfinite(each)]
    if len(each) < 2:
        return None
    return float(each.mean()), *clustered_t(each, np.arange(len(each)))


def _spelled(name: str, values: Array, *, chance: bool = False) -> dict[str, float]:
    """The mean of values [n] under a name, and the ends of its interval; nothing where no value is known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    figure = (share if chance else mean)(known, np.arange(len(known)))
    ends = {f"{name}_low": figure.low, f"{name}_high": figure.high}
    return {name: figure.value} | {end: value for end, value in ends.items() if np.isfinite(value)}
