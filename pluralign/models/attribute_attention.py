"""What a community values: attributes of a response, each heeded as far as the community heeds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.intervals import resampled
from pluralign.models.answers import Answers
from pluralign.models.population import Population
from pluralign.models.scores import Score


class AttributeAttention(Score):
    """PrefPalette: content and attributes of a response, joined by an attention of each community's own.

    The last `attributes` of the features are how much of each attribute a response has; the others are its content.
    h is a linear map of the content, and h_a = v_a times the a-th reading, plus u_a, stands for the state of an
    attribute's predictor. Community c attends with alpha = softmax_a of w_c . tanh(U h + V h_a) and rewards
    theta_c . (h + g_c sum_a alpha_a h_a); g_c starts at one half. Between communities rewards are mixed by the weights.
    features: D, attributes among them. groups: communities. width: of the states. drop: chance that a response is read
    without attributes in training, so that the model can do without.

    Li et al. 2025. Raises `OptionError`.

    >>> score = AttributeAttention(5, 2, attributes=3)
    >>> score.attention(torch.zeros(7, 5)).shape, score(torch.zeros(7, 5), torch.tensor([0.5, 0.5])).shape
    (torch.Size([7, 2, 3]), torch.Size([7]))
    """

    linear = True

    def __init__(self, features: int, groups: int, *, attributes: int, width: int = 16, drop: float = 0.0) -> None:
        super().__init__()
        if not 1 <= attributes <= features:
            raise OptionError(f"attributes is {attributes}; give 1 to {features}, as many of the features as are so")
        if not 0 <= drop < 1:
            raise OptionError(f"drop is {drop}; give a chance below 1")
        self.settings = {"features": features, "groups": groups, "attributes": attributes}
        self.settings |= {"width": width, "drop": drop}
        self.groups, self.attributes, self.drop, self.projector = groups, attributes, drop, nn.Identity()
        self.content = nn.Parameter(torch.empty(width, features - attributes))
        self.direction, self.place = (nn.Parameter(torch.empty(attributes, width)) for _ in range(2))
        self.from_content, self.from_attribute = (nn.Parameter(torch.empty(width, width)) for _ in range(2))
        self.heed, self.taste = (nn.Parameter(torch.empty(groups, width)) for _ in range(2))
        self.gate = nn.Parameter(torch.empty(groups))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin again: small random maps, gates at one half."""
        for matrix in self.parameters():
            if matrix.ndim > 1:
                matrix.data = torch.randn_like(matrix) / max(matrix.shape[1], 1) ** 0.5
        self.gate.data.fill_(0.5)

    def _states(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Content [..., d] and attributes [..., A, d]."""
        cut = items.shape[-1] - self.attributes
        readings = items[..., cut:, None] * self.direction + self.place
        if self.training and self.drop:
            readings = readings * (torch.rand(*items.shape[:-1], 1, 1) >= self.drop)
        return items[..., :cut] @ self.content.T, readings

    def _attend(self, content: Tensor, states: Tensor) -> Tensor:
        mixed = torch.tanh((content @ self.from_content.T)[..., None, :] + states @ self.from_attribute.T)
        return torch.softmax(self.heed @ mixed.transpose(-1, -2), -1)

    def attention(self, items: Tensor) -> Tensor:
        """[..., C, A]: how far each community heeds each attribute of responses [..., D]."""
        return self._attend(*self._states(items))

    def rewards(self, items: Tensor) -> Tensor:
        """[..., C]: each community's rewards."""
        content, states = self._states(items)
        heeded = self._attend(content, states) * (self.taste @ states.transpose(-1, -2))
        out: Tensor = content @ self.taste.T + self.gate * heeded.sum(-1)
        return out

    def forward(self, items: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Rewards [...]."""
        return (self.rewards(items) * weights).sum(-1)

    def margin(self, left: Tensor, right: Tensor, weights: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Reward of left minus reward of right, [...]."""
        return self.forward(left, weights) - self.forward(right, weights)

    def prototypes(self, left: Tensor, right: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Margins [..., C] of each community."""
        return self.rewards(left) - self.rewards(right)


@torch.no_grad()
def attributes(model: Population, answers: Answers, names: Sequence[str] | None = None) -> pl.DataFrame:
    """What each community of a fitted `AttributeAttention` values: a row a community and an attribute.

    attention: mean over the responses. effect: mean change of the reward where the attribute rises by one (a standard
    deviation, if features are standardised), from half below to half above what it is. lost: accuracy lost, of the
    community's own answers, where the attribute is put to zero on both sides. names: of the attributes, else numbers.

    Raises `OptionError` for another score.
    """
    score = model.scorer
    if not isinstance(score, AttributeAttention):
        raise OptionError(f"a {type(score).__name__} has no attributes; fit population attribute-attention")
    called = [str(a) for a in range(score.attributes)] if names is None else list(names)
    if len(called) != score.attributes:
        raise OptionError(f"there are {score.attributes} attributes and {len(called)} names; give one for each")
    items, first = answers.items, answers.items.shape[1] - score.attributes
    attention = score.attention(items).mean(0)
    one_each = score.groups == len(model.people_) and score.groups > 1
    rows = []
    for at, name in enumerate(called):
        step = torch.zeros(items.shape[1])
        step[first + at] = 0.5
        effect = (score.rewards(items + step) - score.rewards(items - step)).mean(0)
        without = items.clone()
        without[:, first + at] = 0
        for k in range(score.groups):
            own = answers.take(answers.person == k) if one_each else answers
            weights = torch.eye(score.groups)[k]
            lost = model.accuracy(own, weights) - model.accuracy(replace(own, items=without), weights)
            community = model.people_[k] if one_each else str(k)
            told = {"attention": attention[k, at].item(), "effect": effect[k].item(), "lost": lost}
            rows.append({"community": community, "attribute": name, **told})
    return pl.DataFrame(rows)


def attribute_effects(
    fitted: Callable[[Answers], Population],
    answers: Answers,
    clusters: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    *,
    draws: int = 40,
    seed: int = 0,
) -> pl.DataFrame:
    """`attributes` with 95% intervals: columns community, attribute, value (the effect), low, high, attention, lost.

    fitted: what fits a population with an `AttributeAttention` score to answers; it is called once for all of them and
    `draws` times for answers of clusters [n], such as the people of a community, that are drawn with replacement. To
    attention and lost belong attention_low, attention_high, lost_low and lost_high.
    """
    told = attributes(fitted(answers), answers, names)
    drawn: dict[str, list[list[float]]] = {name: [] for name in ("effect", "attention", "lost")}
    for rows in resampled(clusters, len(answers), draws, np.random.default_rng(seed)):
        some = answers.take(rows)
        again = attributes(fitted(some), some, names)
        for name, values in drawn.items():
            values.append(again[name].to_list())
    for name, values in drawn.items():
        low, high = np.quantile(values, [0.025, 0.975], axis=0)
        prefix = "" if name == "effect" else f"{name}_"
        told = told.with_columns(pl.Series(f"{prefix}low", low), pl.Series(f"{prefix}high", high))
    return told.rename({"effect": "value"})
