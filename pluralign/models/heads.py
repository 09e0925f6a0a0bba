"""Heads: how features of a response, and of what it was judged by, become a reward."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.models.scores import Score


class Head(Score):
    """Linear rewards on shared features, one for each of K attributes, criteria or groups.

    r = sum_k w_k (<f(y), v_k> + b_k). features: D. groups: K. hidden: width of two hidden layers of f (GELU); None for
    none: then it is linear in y.
    `attributes` gives all K at once.

    >>> Head(3, 2, hidden=8).attributes(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    linear = True

    def __init__(self, features: int, groups: int = 1, *, hidden: int | None = None) -> None:
        super().__init__()
        self.settings = {"features": features, "groups": groups, "hidden": hidden}
        self.groups = groups
        self.projector: nn.Module = nn.Identity()
        if hidden is not None:
            self.projector = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())
        # The last column is the constant: pairs do not tell it, ratings and outside options do.
        self.directions = nn.Parameter(torch.empty(groups, (hidden or features) + 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin again: N(0, 1 / (width + 1)), the constant at zero."""
        self.directions.data = torch.randn_like(self.directions) / self.directions.shape[1] ** 0.5
        self.directions.data[:, -1] = 0.0

    def embed(self, items: Tensor) -> Tensor:
        """f(y) and a 1 for the constant."""
        place: Tensor = self.projector(items)
        return torch.cat([place, torch.ones_like(place[..., :1])], -1)

    def attributes(self, items: Tensor) -> Tensor:
        """[..., D] -> [..., K]: the reward of each attribute."""
        return self.embed(items) @ self.directions.T

    def wish(self, weights: Tensor, prompts: Tensor | None) -> Tensor:
        """A mixture of directions."""
        return weights @ self.directions

    def nearness(self, place: Tensor, wish: Tensor) -> Tensor:
        """The inner product."""
        return (place * wish).sum(-1)


class Conditioned(Score):
    """A reward whose direction depends on the prompt, the context or the criterion x: r = <y, b + W g(x)>.

    features: D of responses. prompt_features: P of what the judgement depends on. hidden: width of a hidden layer of g
    (GELU), none where None. Where responses are names of models, as columns of a unit matrix, b + W g(x) is a
    leaderboard for this prompt (prompt-to-leaderboard, Frick et al. 2025), with `Ties(kind, prompt_features=P)` as loss
    one that knows ties, how likely they are depending on the prompt too. One taste.

    Pitis et al. 2024 (context-aware preference modelling). Raises `OptionError`.

    >>> score = Conditioned(3, prompt_features=2)
    >>> score.board(torch.zeros(4, 2)).shape
    torch.Size([4, 3])
    """

    linear = True

    def __init__(self, features: int, groups: int = 1, *, prompt_features: int, hidden: int | None = None) -> None:
        super().__init__()
        if groups != 1:
            raise OptionError("a conditioned reward has one taste for each context; give groups=1")
        self.settings = {"features": features, "groups": groups, "prompt_features": prompt_features, "hidden": hidden}
        self.groups, self.projector = 1, nn.Identity()
        reads: list[nn.Module] = [nn.Linear(prompt_features, hidden or features, bias=True)]
        if hidden is not None:
            reads += [nn.GELU(), nn.Linear(hidden, features, bias=True)]
        self.reads = nn.Sequential(*reads)
        with torch.no_grad():
            for each in self.reads[-1].parameters():
                each.mul_(0.1)

    def board(self, prompts: Tensor) -> Tensor:
        """[..., P] -> [..., D]: how much each feature of a response is worth under these prompts."""
        worth: Tensor = self.reads(prompts)
        return worth

    def wish(self, weights: Tensor, prompts: Tensor | None) -> Tensor:
        """The direction for this context."""
        if prompts is None:
            raise OptionError("this reward depends on the prompt; give the features of each prompt")
        return self.board(prompts)

    def nearness(self, place: Tensor, wish: Tensor) -> Tensor:
        """The inner product."""
        return (place * wish).sum(-1)


def extrapolated(base: nn.Module, further: nn.Module, factor: float) -> nn.Module:
    """Weights base + factor * (further - base): 0 gives base, 1 further, 1.52 what HelpSteer2-Preference calls ExPO.

    Both have the same parts, as where one was trained from the other. Raises `OptionError`.

    >>> a, b = Head(1), Head(1)
    >>> one = next(extrapolated(a, b, 1.0).parameters())
    >>> bool(torch.allclose(one, b.directions))
    True
    """
    made, start, end = copy.deepcopy(base), base.state_dict(), further.state_dict()
    if {n: v.shape for n, v in start.items()} != {n: v.shape for n, v in end.items()}:
        raise OptionError("the two models have different parts; extrapolate from a model to one trained from it")
    made.load_state_dict({name: start[name] + factor * (end[name] - start[name]) for name in start})
    return made
