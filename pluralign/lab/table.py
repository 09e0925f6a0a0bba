"""A world's policies as tables of logits: the batches that learners take of them, and how they move."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from pluralign.lab.population import population, responses, token_logp
from pluralign.lab.solve import FAR, NoOptimum
from pluralign.lab.worlds import Array, World
from pluralign.objectives import PolicyBatch, dpo
from pluralign.online.learner import Stage
from pluralign.online.samples import Anchors, SampleBatch, SampleTokens

Logits = torch.Tensor
"""[P, nodes, V]."""
Laws = tuple[torch.Tensor, torch.Tensor]
"""Probabilities of responses as they are drawn, and as opponents are, [P, R] each."""


class Table:
    """A world's policies as logits of its tree, and its responses as the batches learners take.

    world: what people think. given: laws that are no policy's, by name, [P, R]. group: draws a prompt. offline:
    whether batches carry the world's own judgements as pairs. extrapolate: how far beyond the policy before.
    """

    def __init__(
        self,
        world: World,
        given: Mapping[str, ArrayLike],
        group: int | None = None,
        *,
        offline: bool = False,
        extrapolate: float = 0.0,
    ) -> None:
        self.world, self.group, self.offline, self.extrapolate = world, group, offline, extrapolate
        self.reference = torch.tensor(world.tree.reference)
        shape = world.reward.shape
        self.given = {name: torch.tensor(np.broadcast_to(np.asarray(law, float), shape)) for name, law in given.items()}

    def logits(self, policy: ArrayLike) -> Logits:
        """Of a policy [P, R]: at each node the log of how often each choice follows it.

        Where responses share parameters (a world with short memory) this is the policy nearest by likelihood.
        """
        law = torch.tensor(np.broadcast_to(np.asarray(policy, dtype=np.float64), self.world.reward.shape))
        tree, chosen = self.world.tree, torch.zeros_like(self.reference)
        for r, t in zip(*np.nonzero(tree.mask), strict=True):
            chosen[:, tree.node[r, t], tree.token[r, t]] += law[:, r]
        return chosen.clamp(min=1e-300).log()

    def log_p(self, logits: Logits) -> torch.Tensor:
        """Log-probs of responses, [P, R]."""
        return responses(self.world, torch.log_softmax(logits, -1))

    def policy(self, logits: Logits) -> Array:
        """Probabilities of responses, [P, R]."""
        return np.asarray(self.log_p(logits).exp().numpy())

    def value(self, log_p: torch.Tensor) -> torch.Tensor:
        """What a perfect value head says: the mean reward of the responses that pass each node, [P, nodes]."""
        tree, law = self.world.tree, responses(self.world, log_p).exp()
        passed, gained = torch.zeros(2, *log_p.shape[:2], dtype=log_p.dtype)
        for t in range(tree.node.shape[1]):
            node, share = torch.tensor(tree.node[:, t]), law * torch.tensor(tree.mask[:, t])
            passed.index_add_(1, node, share)
            gained.index_add_(1, node, share * torch.tensor(self.world.reward))
        found: torch.Tensor = gained / passed.clamp(min=1e-300)
        return found

    def mixed(self, anchors: Anchors, kept: Mapping[str, Logits]) -> Logits:
        """The geometric mixture of snapshots, token by token."""
        return sum((w * kept[name] for name, w in anchors.items()), start=torch.zeros_like(self.reference))

    def laws(self, stage: Stage, kept: Mapping[str, Logits]) -> Laws:
        """Probabilities of responses under a stage's law and its opponent's, [P, R] each."""

        def law(anchors: Anchors) -> torch.Tensor:
            if given := [self.given[name] for name in anchors if name in self.given]:
                return given[0]
            return self.log_p(self.mixed(anchors, kept)).exp()

        own = self.given["draws"] if "draws" in self.given else law(stage.law)
        same = stage.opponent is None or ("draws" not in self.given and stage.opponent == stage.law)
        return own, own if same else law(stage.opponent or {})

    def batch(
        self,
        theta: Logits,
        kept: Mapping[str, Logits],
        laws: list[Laws],
        extra: Mapping[str, Any],
    ) -> SampleBatch:
        """All responses under these laws (their mean, where there are several), or all groups that can be drawn."""
        parts = [self._part(theta, kept, law, opponent, extra) for law, opponent in laws]
        return parts[0] if len(parts) == 1 else _stacked(parts)

    def _part(
        self, theta: Logits, kept: Mapping[str, Logits], law: torch.Tensor, opponent: torch.Tensor, extra: Any
    ) -> SampleBatch:
        world, log_p = self.world, torch.log_softmax(theta, -1)
        frozen = {name: torch.log_softmax(value, -1) for name, value in kept.items()}
        log_ref = frozen["reference"]
        node, mask = torch.tensor(world.tree.node), torch.tensor(world.tree.mask)
        drift = (log_p.exp() * (log_p - log_ref)).sum(-1)[:, node] * mask
        written = law.clamp(min=1e-300).log()
        tokens: dict[str, Any] = {
            "mask": mask.expand(*law.shape, mask.shape[1]),
            "logp": token_logp(world, log_p),
            "sampled_logp": token_logp(world, frozen["previous"]),
            "kl": drift,
            "reference_kl": (log_ref.exp() * (log_ref - log_p)).sum(-1)[:, node] * mask,
            "surplus": (log_p + self.extrapolate * (log_p - frozen["previous"])).logsumexp(-1)[:, node] * mask,
            "value": (value := self.value(frozen["previous"])[:, node] * mask),
            "sampled_value": value,
        }
        frozen_tokens = {name: token_logp(world, value) for name, value in frozen.items()}
        plain: dict[str, Any] = {
            "logp": responses(world, log_p),
            "length": torch.tensor(world.length),
            "sampled_logp": written,
            "kl": drift.sum(-1),
        }
        frozen_logp = {name: responses(world, value) for name, value in frozen.items()}
        rest: dict[str, Any] = {
            key: torch.as_tensor(value) if isinstance(value, np.ndarray) else value for key, value in extra.items()
        }
        plain["reward"] = rest.pop("reward", torch.tensor(world.reward))
        square = rest.pop("preference", torch.tensor(world.preference))
        plain |= {key: rest.pop(key) for key in ("components",) if key in rest}
        if self.offline:
            rest["offline"] = population(dpo, world, theta, kept["reference"], (), {})
        if self.group is None:
            return SampleBatch(
                **plain,
                preference=square,
                snapshots=frozen_logp,
                tokens=SampleTokens(**tokens, snapshots=frozen_tokens),
                law=law,
                opponent=opponent,
                exact=True,
                **rest,
            )
        own = self.group if law is opponent else self.group + 1
        drawn = torch.tensor(list(itertools.product(range(law.shape[1]), repeat=own)))  # [groups, own]

        def rows(values: torch.Tensor) -> Any:
            return values[:, drawn].flatten(0, 1)

        chance = law[:, drawn].prod(-1)
        shares: dict[str, Any] = {}
        if law is not opponent:
            chance = law[:, drawn[:, :-1]].prod(-1) * opponent[:, drawn[:, -1]]
            first = (torch.arange(own) < self.group).double().expand(chance.numel(), own)
            shares = {"law": first / self.group, "opponent": 1 - first}
        of_prompts = {k: v for k, v in rest.items() if hasattr(v, "ndim") and v.ndim and k != "multipliers"}
        rest |= {k: v.repeat_interleave(len(drawn), 0) for k, v in of_prompts.items()}
        return SampleBatch(
            **{name: rows(value) for name, value in plain.items()},
            preference=square[:, drawn[:, :, None], drawn[:, None, :]].flatten(0, 1),
            snapshots={name: rows(value) for name, value in frozen_logp.items()},
            tokens=SampleTokens(
                **{name: rows(value) for name, value in tokens.items()},
                snapshots={name: rows(value) for name, value in frozen_tokens.items()},
            ),
            weight=chance.flatten(),
            **shares,
            **rest,
        )

    def fit(self, loss: Callable[[Logits], torch.Tensor], begin: Logits, name: str) -> Logits:
        """The minimum of the loss nearest to where it begins, by Newton steps that never go uphill."""

        def logits(free: torch.Tensor) -> Logits:
            return torch.cat([free.reshape(begin[..., :-1].shape), torch.zeros_like(begin[..., :1])], -1)

        def whole(free: torch.Tensor) -> torch.Tensor:
            return loss(logits(free))

        free = (begin[..., :-1] - begin[..., -1:]).flatten()
        value, slope, curve = _derivatives(whole, free)
        step = _newton(slope, curve)
        for _ in range(200):
            if slope.abs().max() < 1e-14:
                break
            # A full step that flattens the slope is right even where rounding hides that the loss falls.
            there = _derivatives(whole, free - step)
            if there[0] >= value and there[1].abs().max() > slope.abs().max() / 2:
                sizes = (0.5**n for n in range(1, 12))
                size = next((s for s in sizes if float(whole(free - s * step)) < value), None)
                if size is None:
                    break
                step = size * step
                there = _derivatives(whole, free - step)
            free = free - step
            value, slope, curve = there
            step = _newton(slope, curve)
        # Not "any is too large": what is not a number is neither.
        if not (slope.abs().max() < 1e-7 and step.abs().max() < 1e-3 and free.abs().max() < FAR):
            raise NoOptimum(
                f"{name} has no minimum to fit in this round: its loss still slopes by {float(slope.abs().max()):.1e}, "
                f"and a further step is {float(step.abs().max()):.1e}; look at the error's policy",
                self.policy(logits(free)),
            )
        return logits(free)

    def step(self, loss: Callable[[Logits], torch.Tensor], begin: Logits, rate: float, *, natural: bool) -> Logits:
        """One gradient step; `natural` along the inverse Fisher matrix of the policy."""
        theta = begin.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(theta), theta)
        if natural:
            slope = self.natural(begin, slope)
        return begin - rate * slope

    def natural(self, logits: Logits, slope: torch.Tensor) -> torch.Tensor:
        """The slope of the mean over prompts as a natural gradient, prompt by prompt.

        The Fisher matrix of a node is visits * (diag(p) - p p'), and choices at different nodes do not correlate.
        """
        tree, p = self.world.tree, torch.softmax(logits, -1)
        law = self.log_p(logits).exp()
        visits = torch.zeros(p.shape[:2], dtype=p.dtype)
        for t in range(tree.node.shape[1]):
            visits.index_add_(1, torch.tensor(tree.node[:, t]), law * torch.tensor(tree.mask[:, t]))
        found = len(slope) * slope / (visits[..., None] * p).clamp(min=1e-300)
        return found - found.mean(-1, keepdim=True)


def _newton(slope: torch.Tensor, curve: torch.Tensor) -> torch.Tensor:
    """The step to take off, never uphill: directions of negative curvature are walked down as if it were positive."""
    eigen, axes = torch.linalg.eigh(curve)
    floor = 1e-10 * float(eigen.abs().max()) + 1e-300
    found: torch.Tensor = axes @ ((axes.T @ slope) / eigen.abs().clamp(min=floor))
    return found


def _derivatives(function: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor) -> tuple[float, Any, Any]:
    point = at.clone().requires_grad_()
    value = function(point)
    (slope,) = torch.autograd.grad(value, point, create_graph=True)
    rows = [torch.autograd.grad(each, point, retain_graph=True)[0] for each in slope]
    return value.item(), slope.detach(), torch.stack(rows)


def _stacked(parts: list[SampleBatch]) -> SampleBatch:
    """Several rounds' draws as further rows of one batch."""
    first = parts[0]

    def joined(values: list[Any]) -> Any:
        value = values[0]
        if isinstance(value, Mapping):
            return {name: joined([v[name] for v in values]) for name in value}
        if isinstance(value, SampleTokens):
            return SampleTokens(**{name: joined([getattr(v, name) for v in values]) for name in vars(value)})
        if isinstance(value, PolicyBatch) or not hasattr(value, "ndim"):
            return value
        return torch.cat(values)

    return SampleBatch(**{name: joined([getattr(part, name) for part in parts]) for name in vars(first)})
