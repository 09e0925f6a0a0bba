"""Scores that compare: cyclic preferences, networks that read both sides, and responses worth a distribution."""

from __future__ import annotations

from math import pi, sqrt

import torch
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.models.scores import Score


class PairScore(Score):
    """A score of two responses, of one taste: what likelihoods read is `margin`, with margin(l, r) = -margin(r, l)."""

    linear = True
    groups = 1

    def _one_taste(self, groups: int) -> None:
        if groups != 1:
            raise OptionError(f"{type(self).__name__} has one taste; give groups=1")

    def forward(self, items: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """There is none: raises `OptionError`."""
        raise OptionError(f"{type(self).__name__} gives no score to a response alone; compare it with others")

    def prototypes(self, left: Tensor, right: Tensor, prompts: Tensor | None = None) -> Tensor:
        """The one taste there is, [..., 1]."""
        return self.margin(left, right, torch.ones(1), prompts)[..., None]

    def against(self, item: Tensor, others: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Mean margin of a response [D] over others [n, D]: its reward where the others are a policy's samples."""
        return self.margin(item.expand(len(others), -1), others, torch.ones(1), prompts).mean()


class GeneralPreference(PairScore):
    """GPM: each response an embedding of 2k numbers, a preference the area that two of them span.

    s(a over b) = sum_l g_l (a_{2l-1} b_{2l} - a_{2l} b_{2l-1}) / tau: it can go round in circles, which no scalar can,
    and one pass a response is enough. With one of the numbers constant it is a scalar reward. features: D. size: 2k, an
    even number. temperature: tau. prompt_features: P, where the prompt says how much each area counts, g = k softmax of
    a linear map of it; left out, g = 1. One taste only.

    Zhang et al. 2024. Raises `OptionError`.

    >>> score = GeneralPreference(3, size=2, temperature=0.1)
    >>> angle = torch.tensor([0.0, 2, 4]) * pi / 3
    >>> _ = score.projector.weight.data.copy_(torch.stack([angle.cos(), angle.sin()]))
    >>> items, one = torch.eye(3), torch.ones(1)
    >>> [round(p, 4) for p in torch.sigmoid(score.margin(items, items.roll(-1, 0), one)).tolist()]
    [0.9998, 0.9998, 0.9998]
    """

    def __init__(
        self,
        features: int,
        groups: int = 1,
        *,
        size: int = 6,
        temperature: float = 1.0,
        prompt_features: int | None = None,
    ) -> None:
        super().__init__()
        self._one_taste(groups)
        if size < 2 or size % 2:
            raise OptionError(f"size {size} is no even number from 2 on")
        self.settings = {"features": features, "groups": groups, "size": size, "temperature": temperature}
        self.settings |= {"prompt_features": prompt_features}
        self.temperature = temperature
        self.projector = nn.Linear(features, size, bias=False)
        self.gate = None if prompt_features is None else nn.Linear(prompt_features, size // 2)

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """s(left over right), [...]."""
        a, b = self.embed(torch.stack([left, right]))
        area = a[..., ::2] * b[..., 1::2] - a[..., 1::2] * b[..., ::2]
        total: Tensor = (area * self._share(prompts)).sum(-1) / self.temperature
        return total

    def matrix(self, items: Tensor, prompt: Tensor | None = None) -> Tensor:
        """[K, D] responses to one prompt [P] -> [K, K]: s(row over column), each response embedded once.

        >>> score, items = GeneralPreference(3), torch.eye(3)
        >>> bool(torch.allclose(score.matrix(items)[0, 2], score.margin(items[0], items[2], torch.ones(1))))
        True
        """
        v = self.embed(items)
        half = (v[:, ::2] * self._share(prompt)) @ v[:, 1::2].T
        return (half - half.T) / self.temperature

    def _share(self, prompts: Tensor | None) -> Tensor:
        """How much each area counts under these prompts: [..., k], 1 on average."""
        if self.gate is None:
            return torch.ones(())
        if prompts is None:
            raise OptionError("the areas of this score depend on the prompt; give the features of each prompt")
        chances = torch.softmax(self.gate(prompts), -1)
        return chances * chances.shape[-1]


class Pairwise(PairScore):
    """A network that reads both responses at once, the same from either side: h(l, r, x) - h(r, l, x).

    features: D. prompt_features: P, where prompts are read. width: of the two hidden layers. It can hold cycles and
    whatever else two vectors tell together, at the price of a pass for each pair.

    >>> score = Pairwise(3)
    >>> a, b = torch.randn(2, 5, 3)
    >>> bool((score.margin(a, b, torch.ones(1)) == -score.margin(b, a, torch.ones(1))).all())
    True
    """

    def __init__(
        self, features: int, groups: int = 1, *, prompt_features: int | None = None, width: int | None = None
    ) -> None:
        super().__init__()
        self._one_taste(groups)
        self.settings = {"features": features, "groups": groups, "prompt_features": prompt_features, "width": width}
        d = width or max(2 * features, 8)
        self.reads = prompt_features is not None
        self.projector = nn.Sequential(
            nn.Linear(2 * features + (prompt_features or 0), d), nn.GELU(), nn.Linear(d, d), nn.GELU(), nn.Linear(d, 1)
        )

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """h(left, right) - h(right, left), [...]."""
        if self.reads and prompts is None:
            raise OptionError("this score reads prompts; give the features of each prompt")
        asked = [prompts] if self.reads and prompts is not None else []
        there, back = (self.embed(torch.cat([*sides, *asked], -1))[..., 0] for sides in ((left, right), (right, left)))
        return there - back


class MeanVariance(PairScore):
    """DPL: a response is worth a distribution, whose spread is what people with unseen reasons disagree about.

    Margin sqrt(2 pi) (mu_l - mu_r) / sqrt(s_l^2 + s_r^2), s = softplus of a linear map: with the logistic loss nearly
    the probability that a draw of the left is above a draw of the right. The score is mu. features: D. spread_penalty:
    how much of the mean s^2 is added to the loss. One taste only.

    Siththaranjan et al. 2024. Raises `OptionError`.

    >>> round(MeanVariance(2).spread(torch.zeros(2)).item(), 4)
    0.6931
    """

    def __init__(self, features: int, groups: int = 1, *, spread_penalty: float = 0.0) -> None:
        super().__init__()
        self._one_taste(groups)
        self.settings = {"features": features, "groups": groups, "spread_penalty": spread_penalty}
        self.spread_penalty = spread_penalty
        self.projector = nn.Linear(features, 2, bias=False)

    def spread(self, items: Tensor) -> Tensor:
        """Standard deviations [...] of the worth of responses [..., D]."""
        return nn.functional.softplus(self.embed(items)[..., 1])

    def cautious(self, items: Tensor, deviations: float = 1.0) -> Tensor:
        """mu less so many standard deviations, [...]: a reward that avoids what some dislike."""
        return self.embed(items)[..., 0] - deviations * self.spread(items)

    def explained(self, items: Tensor) -> float:
        """Var of mu over Var of mu + mean s^2: near 1 where nothing unseen decides."""
        return _explained(self.embed(items)[..., 0], self.spread(items) ** 2)

    def forward(self, items: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """mu, [...]."""
        mean: Tensor = self.embed(items)[..., 0]
        return mean

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Difference of means in units of the spread of the difference."""
        both = self.embed(torch.stack([left, right]))
        spread = nn.functional.softplus(both[..., 1]).square().sum(0).sqrt()
        return sqrt(2 * pi) * (both[0, ..., 0] - both[1, ..., 0]) / spread

    def penalty(self, left: Tensor, right: Tensor) -> Tensor:
        """spread_penalty times the mean s^2."""
        return self.spread_penalty * self.spread(torch.stack([left, right])).square().mean()


class Categorical(PairScore):
    """DPL with a distribution over atoms of worth, in equal steps from 0 to 1: it need not have one peak.

    P(l over r) = sum_{u > v} p_l(u) p_r(v) + 1/2 sum_u p_l(u) p_r(u); the margin is its log-odds, so that the logistic
    loss is -log P. features: D. atoms: how many. entropy_penalty: how much the loss rises with the negative entropy of
    the mean distribution of a batch, which keeps all atoms in use. The score is the mean worth. One taste only.

    Siththaranjan et al. 2024. Raises `OptionError`.

    >>> score = Categorical(1, atoms=2)
    >>> _ = score.projector.weight.data.copy_(torch.tensor([[-50.0], [50.0]]))
    >>> best, worst = torch.ones(1), -torch.ones(1)
    >>> bool(torch.sigmoid(score.margin(best, worst, torch.ones(1))) > 0.999)
    True
    """

    def __init__(self, features: int, groups: int = 1, *, atoms: int = 10, entropy_penalty: float = 0.0) -> None:
        super().__init__()
        self._one_taste(groups)
        if atoms < 2:
            raise OptionError(f"atoms {atoms}: a distribution needs 2 or more")
        self.settings = {"features": features, "groups": groups, "atoms": atoms, "entropy_penalty": entropy_penalty}
        self.entropy_penalty = entropy_penalty
        self.projector = nn.Linear(features, atoms, bias=False)
        self.worth = torch.linspace(0, 1, atoms)

    def distribution(self, items: Tensor) -> Tensor:
        """[..., atoms]: the chance of each worth."""
        return torch.softmax(self.embed(items), -1)

    def quantile(self, items: Tensor, level: float = 0.1) -> Tensor:
        """A low quantile of the worth, [...]: a reward that avoids what some dislike."""
        within = self.distribution(items).cumsum(-1) < level
        return self.worth.to(items.dtype)[within.sum(-1).clamp(max=len(self.worth) - 1)]

    def explained(self, items: Tensor) -> float:
        """Var of the mean worth over Var of the mean + mean variance: near 1 where nothing unseen decides."""
        p, worth = self.distribution(items), self.worth.to(items.dtype)
        mean = p @ worth
        return _explained(mean, p @ worth**2 - mean**2)

    def forward(self, items: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """The mean worth, [...]."""
        mean: Tensor = self.distribution(items) @ self.worth.to(items.dtype)
        return mean

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Log-odds that a draw of left is above a draw of right."""
        a, b = torch.log_softmax(self.embed(torch.stack([left, right])), -1)
        joint = a[..., :, None] + b[..., None, :]
        place = torch.arange(a.shape[-1])
        above, same = place[:, None] > place[None, :], place[:, None] == place[None, :]
        half = joint + torch.where(same, 0.5, 1.0).log()

        def chance(where: Tensor) -> Tensor:
            total: Tensor = half.masked_fill(~(where | same), -torch.inf).flatten(-2).logsumexp(-1)
            return total

        return chance(above) - chance(above.T)

    def penalty(self, left: Tensor, right: Tensor) -> Tensor:
        """entropy_penalty times the sum of p log p of the batch's mean distribution."""
        mean = self.distribution(torch.cat([left, right])).mean(0)
        total: Tensor = self.entropy_penalty * torch.xlogy(mean, mean).sum()
        return total


def _explained(mean: Tensor, variance: Tensor) -> float:
    between = float(mean.var(correction=0))
    return between / (between + float(variance.mean()))
