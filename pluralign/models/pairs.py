"""Scores that are not one number: cyclic preferences, and how far people differ over a response."""

from __future__ import annotations

from math import pi, sqrt

import torch
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.models.scores import Score


class GeneralPreference(Score):
    """GPM: each response an embedding of 2k numbers, a preference the area that two of them span.

    s(a over b) = sum_l (a_{2l-1} b_{2l} - a_{2l} b_{2l-1}) / tau: it can go round in circles, which no scalar can, and
    one pass a response is enough. With one of the numbers constant it is a scalar reward. features: D. size: 2k, an
    even number. temperature: tau. One taste only.

    Zhang et al. 2024. Raises `OptionError`.

    >>> score = GeneralPreference(3, size=2, temperature=0.1)
    >>> angle = torch.tensor([0.0, 2, 4]) * pi / 3
    >>> _ = score.projector.weight.data.copy_(torch.stack([angle.cos(), angle.sin()]))
    >>> items, one = torch.eye(3), torch.ones(1)
    >>> [round(p, 4) for p in torch.sigmoid(score.margin(items, items.roll(-1, 0), one)).tolist()]
    [0.9998, 0.9998, 0.9998]
    """

    linear = True
    groups = 1

    def __init__(self, features: int, groups: int = 1, *, size: int = 6, temperature: float = 1.0) -> None:
        super().__init__()
        if groups != 1:
            raise OptionError("a general preference has one taste; give groups=1")
        if size < 2 or size % 2:
            raise OptionError(f"size {size} is no even number from 2 on")
        self.settings = {"features": features, "groups": groups, "size": size, "temperature": temperature}
        self.temperature = temperature
        self.projector = nn.Linear(features, size, bias=False)

    def forward(self, items: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """There is none: raises `OptionError`."""
        raise OptionError("a general preference gives no score to a response alone; compare it with others")

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """s(left over right), [...]."""
        a, b = self.embed(torch.stack([left, right]))
        area = a[..., ::2] * b[..., 1::2] - a[..., 1::2] * b[..., ::2]
        total: Tensor = area.sum(-1) / self.temperature
        return total

    def prototypes(self, left: Tensor, right: Tensor, prompts: Tensor | None = None) -> Tensor:
        """The one taste there is, [..., 1]."""
        return self.margin(left, right, torch.ones(1), prompts)[..., None]


class MeanVariance(Score):
    """DPL: a response is worth a distribution, whose spread is what people with unseen reasons disagree about.

    Margin sqrt(2 pi) (mu_l - mu_r) / sqrt(s_l^2 + s_r^2), s = softplus of a linear map: with the logistic loss nearly
    the probability that a draw of the left is above a draw of the right. The score is mu. features: D. One taste only.

    Siththaranjan et al. 2024. Raises `OptionError`.

    >>> round(MeanVariance(2).spread(torch.zeros(2)).item(), 4)
    0.6931
    """

    linear = True
    groups = 1

    def __init__(self, features: int, groups: int = 1) -> None:
        super().__init__()
        if groups != 1:
            raise OptionError("a mean and a variance serve one taste; give groups=1")
        self.settings = {"features": features, "groups": groups}
        self.projector = nn.Linear(features, 2, bias=False)

    def spread(self, items: Tensor) -> Tensor:
        """Standard deviations [...] of the worth of responses [..., D]."""
        return nn.functional.softplus(self.embed(items)[..., 1])

    def explained(self, items: Tensor) -> float:
        """Var of mu over Var of mu + mean s^2: near 1 where nothing unseen decides."""
        between = float(self.embed(items)[..., 0].var(correction=0))
        return between / (between + float((self.spread(items) ** 2).mean()))

    def forward(self, items: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """mu, [...]."""
        mean: Tensor = self.embed(items)[..., 0]
        return mean

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Difference of means in units of the spread of the difference."""
        both = self.embed(torch.stack([left, right]))
        spread = nn.functional.softplus(both[..., 1]).square().sum(0).sqrt()
        return sqrt(2 * pi) * (both[0, ..., 0] - both[1, ..., 0]) / spread

    def prototypes(self, left: Tensor, right: Tensor, prompts: Tensor | None = None) -> Tensor:
        """The one taste there is, [..., 1]."""
        return self.margin(left, right, torch.ones(1), prompts)[..., None]
