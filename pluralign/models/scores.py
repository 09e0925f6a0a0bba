"""Scores of responses under a taste: how near what is offered comes to what is wished for.

A taste is a weight vector over K prototypes. Every score here is `nearness(embed(item), wish(weights, prompt))`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pluralign.errors import OptionError

Distance = Literal["squared", "euclid", "unit", "cosine"]
START, MOST = log(1 / 0.07), 100.0
"""Of the cosine's scale: where its logarithm begins, and where it ends."""


class Score(nn.Module):
    """A score over K prototypes. groups: K. linear: whether the difference of two scores is linear in the weights.

    settings: the arguments it was made with.
    """

    groups: int
    linear: bool
    settings: dict[str, Any]
    projector: nn.Module

    def embed(self, items: Tensor) -> Tensor:
        """[..., D] -> [..., d]: where a response lies."""
        place: Tensor = self.projector(items)
        return place

    def wish(self, weights: Tensor, prompts: Tensor | None) -> Tensor:
        """Weights [..., K], prompts [..., P] -> [..., d]: what a person of these weights wishes for."""
        raise NotImplementedError

    def nearness(self, place: Tensor, wish: Tensor) -> Tensor:
        """[..., d] and [..., d] -> [...]."""
        raise NotImplementedError

    def forward(self, items: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Scores [...] of responses [..., D] for people of weights [..., K]."""
        return self.nearness(self.embed(items), self.wish(weights, prompts))

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Score of left minus score of right, [...]."""
        wish = self.wish(weights, prompts)
        # Each side by itself: to put them into one array would cost as much as a narrow projection.
        return self.nearness(self.embed(left), wish) - self.nearness(self.embed(right), wish)

    def penalty(self, left: Tensor, right: Tensor) -> Tensor:
        """What is added to the mean loss of these pairs [n, D], a scalar; nothing."""
        return torch.zeros(())

    def prototypes(self, left: Tensor, right: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Margins [..., K] for a person of each prototype's taste alone."""
        corners = torch.eye(self.groups, dtype=left.dtype).expand(*left.shape[:-1], -1, -1)
        spread = None if prompts is None else prompts[..., None, :].expand(*corners.shape[:-1], -1)
        wish = self.wish(corners, spread)
        return self.nearness(self.embed(left)[..., None, :], wish) - self.nearness(
            self.embed(right)[..., None, :], wish
        )


class Nearness(Score):
    """A score that is minus a distance between a response and what is wished for, or their cosine.

    distance: "euclid" ||z - a||, "squared" ||z - a||^2, "unit", Euclid's between both at unit length, or "cosine",
    kappa cos(z, a) with kappa learnt, at most 100. Raises `OptionError`.
    """

    def __init__(self, distance: Distance) -> None:
        super().__init__()
        if distance not in ("squared", "euclid", "unit", "cosine"):
            raise OptionError(f"distance {distance!r} is not one of squared, euclid, unit, cosine")
        self.distance = distance
        self.log_scale = nn.Parameter(torch.tensor(START)) if distance == "cosine" else None

    def reset_parameters(self) -> None:
        """Begin again with the scale."""
        if self.log_scale is not None:
            self.log_scale.data.fill_(START)

    def nearness(self, place: Tensor, wish: Tensor) -> Tensor:
        """Minus the distance, or the scaled cosine."""
        if self.log_scale is not None:
            return scaled_cosine(place, wish, self.log_scale)
        if self.distance == "unit":
            place, wish = (nn.functional.normalize(each, dim=-1) for each in (place, wish))
        squared = ((place - wish) ** 2).sum(-1)
        # The root has no slope at zero; a millionth of a unit there is far below what any feature tells.
        return -squared if self.distance == "squared" else -(squared + 1e-12).sqrt()


class IdealPoint(Nearness):
    """PAL-A: minus the distance to an ideal point, which is a mixture of K prototypical ones.

    features: D. groups: K. mixing: where prototypes p_k live and are mixed by the weights w: "Pw", sum_k w_k p_k in
    the latent space; "f(P)w", sum_k w_k f(p_k); "f(Pw)", f(sum_k w_k p_k); "|f(P)|w", each f(p_k) at unit length.
    distance: see `Nearness`. projector: f, "linear" or "mlp" (two hidden layers of the latent width, GELU; residual
    where widths agree). width: d, by default D.

    Coombs 1950; Chen et al. 2024 (PAL). Raises `OptionError`.

    >>> score = IdealPoint(1, 1, mixing="Pw", distance="squared", projector="identity")
    >>> _ = score.points.data.fill_(4.0)
    >>> items, one = torch.arange(0.0, 7.0)[:, None], torch.ones(7, 1)
    >>> score(items, one).argsort(descending=True, stable=True).tolist()
    [4, 3, 5, 2, 6, 1, 0]
    """

    def __init__(
        self,
        features: int,
        groups: int,
        *,
        mixing: Literal["Pw", "f(P)w", "f(Pw)", "|f(P)|w"] = "f(Pw)",
        distance: Distance = "euclid",
        projector: Literal["mlp", "linear", "identity"] = "mlp",
        width: int | None = None,
    ) -> None:
        super().__init__(distance)
        if mixing not in ("Pw", "f(P)w", "f(Pw)", "|f(P)|w"):
            raise OptionError(f"mixing {mixing!r} is not one of Pw, f(P)w, f(Pw), |f(P)|w")
        self.settings = {"features": features, "groups": groups, "mixing": mixing, "distance": distance}
        self.settings |= {"projector": projector, "width": width}
        self.groups, self.mixing = groups, mixing
        self.projector = project(projector, features, width or features)
        size = features if mixing != "Pw" else (features if projector == "identity" else width or features)
        self.points = nn.Parameter(torch.empty(groups, size))
        self.reset_parameters()
        # ||z||^2 cancels, and what is left of a squared distance is linear in the ideal point.
        self.straight = projector in ("linear", "identity")
        self.linear = distance == "squared" and (mixing in ("Pw", "f(P)w", "|f(P)|w") or self.straight)

    def reset_parameters(self) -> None:
        """Begin again: prototypes of unit length in random directions."""
        self.points.data = nn.functional.normalize(torch.randn_like(self.points), dim=-1)
        super().reset_parameters()

    def wish(self, weights: Tensor, prompts: Tensor | None) -> Tensor:
        """A mixture of prototypes."""
        if self.mixing == "Pw":
            return weights @ self.points
        if self.mixing == "f(Pw)" and not self.straight:
            return self.embed(weights @ self.points)
        ends = self.embed(self.points)
        return weights @ (nn.functional.normalize(ends, dim=-1) if self.mixing == "|f(P)|w" else ends)


class TwoTower(Nearness):
    """PAL-B: how near a response comes to what a person wishes for under this prompt.

    s = kappa cos(f(y), sum_k w_k g_k(x)), or minus another distance: each prototype is a function of the prompt.
    features: D of responses. prompt_features: P. groups: K. distance: see `Nearness`. width: d, by default D.
    projector: f and every g_k, "mlp" (two hidden layers, GELU) or "linear".

    Chen et al. 2024 (PAL). Raises `OptionError`.

    >>> score = TwoTower(3, 2, prompt_features=4)
    >>> score(torch.ones(5, 3), torch.tensor([[0.5, 0.5]]).expand(5, 2), torch.ones(5, 4)).shape
    torch.Size([5])
    """

    def __init__(
        self,
        features: int,
        groups: int,
        *,
        prompt_features: int,
        distance: Distance = "cosine",
        projector: Literal["mlp", "linear"] = "mlp",
        width: int | None = None,
    ) -> None:
        super().__init__(distance)
        self.settings = {"features": features, "groups": groups, "prompt_features": prompt_features}
        self.settings |= {"distance": distance, "projector": projector, "width": width}
        self.groups, self.linear = groups, distance == "squared"
        d = width or features
        self.projector = project(projector, features, d, residual=False)
        self.heads = nn.ModuleList(project(projector, prompt_features, d, residual=False) for _ in range(groups))

    def wish(self, weights: Tensor, prompts: Tensor | None) -> Tensor:
        """A mixture of what each prototype wishes for under this prompt."""
        if prompts is None:
            raise OptionError("a two-tower score reads prompts; give the features of each prompt")
        heads = torch.stack([head(prompts) for head in self.heads], dim=-2)
        return (weights[..., None] * heads).sum(-2)


class LowRank(Score):
    """LoRe: a reward linear in the features, r = <phi(x, y), sum_k w_k v_k>.

    features: D. groups: K directions. pull: times sum_k ||v_k - reference||^2 is added to the mean loss, nats.
    reference: [D], the reward that directions start from and are pulled to, of a reward model made before, say; zeros
    where None, about which they start at random. With a large pull everybody has the reference.

    Bose et al. 2025. Raises `OptionError`.

    >>> LowRank(2, 3)(torch.zeros(4, 2), torch.full((4, 3), 1 / 3)).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """

    linear = True

    def __init__(
        self, features: int, groups: int, *, pull: float = 0.0, reference: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        known = None if reference is None else [float(v) for v in reference]
        if pull < 0 or (known is not None and len(known) != features):
            raise OptionError(f"pull is 0 or more, and reference has a number for each of the {features} features")
        self.settings = {"features": features, "groups": groups, "pull": pull, "reference": known}
        self.groups, self.projector, self.pull = groups, nn.Identity(), pull
        self.reference = None if known is None else torch.tensor(known)
        self.directions = nn.Parameter(torch.empty(groups, features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin again: random directions, scores of features of unit size about one; about the reference, if any."""
        self.directions.data = torch.randn_like(self.directions) / self.directions.shape[1] ** 0.5
        if self.reference is not None:
            self.directions.data += self.reference

    def penalty(self, left: Tensor, right: Tensor) -> Tensor:
        """The pull to the reference."""
        if not self.pull:
            return super().penalty(left, right)
        return self.pull * (self.directions - (0.0 if self.reference is None else self.reference)).square().sum()

    def wish(self, weights: Tensor, prompts: Tensor | None) -> Tensor:
        """A mixture of directions."""
        return weights @ self.directions

    def nearness(self, place: Tensor, wish: Tensor) -> Tensor:
        """The inner product."""
        return (place * wish).sum(-1)


def scaled_cosine(a: Tensor, b: Tensor, log_scale: Tensor) -> Tensor:
    """min(exp(log_scale), 100) * cos(a, b) over the last axis."""
    return log_scale.exp().clamp(max=MOST) * nn.functional.cosine_similarity(a, b, dim=-1)


class _Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.inner(x)
        return out


def project(kind: str, features: int, width: int, *, residual: bool = True) -> nn.Module:
    """The map from features to the latent space: "mlp", "linear" or "identity". Raises `OptionError`."""
    if kind == "identity" and features == width:
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(features, width, bias=False)
    if kind != "mlp":
        raise OptionError(f"projector {kind!r} is not one of mlp, linear, identity (which keeps the width)")
    layers = nn.Sequential(
        nn.Linear(features, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
    )
    return _Residual(layers) if residual and features == width else layers
