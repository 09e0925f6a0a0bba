"""Two frozen towers and a small map between them, for one person's taste from a few pairs."""

from __future__ import annotations

from math import exp

import torch
from torch import Tensor, nn

from pluralign.errors import OptionError
from pluralign.models.scores import START, Score


class Adapter(Score):
    """The scaled cosine of response and prompt in one space, with a map of the response that begins as the identity.

    s = kappa cos(y + U V y, x), kappa fixed; U begins at zero, so that without training, or with a penalty that holds U
    there, the ranking is that of the towers. features: D of responses and prompts alike. rank: of U V, D for any linear
    map, 4 at most where None. One taste.

    Gallego 2023 (as its abstract describes it). Raises `OptionError`.

    >>> score, y, x = Adapter(3, rank=1), torch.randn(2, 3), torch.randn(2, 3)
    >>> cosine = nn.functional.cosine_similarity(y, x, dim=-1)
    >>> bool(torch.allclose(score(y, torch.ones(2, 1), x), score.kappa * cosine))
    True
    """

    linear = True

    def __init__(self, features: int, groups: int = 1, *, rank: int | None = None, kappa: float = exp(START)) -> None:
        super().__init__()
        if groups != 1:
            raise OptionError("an adapter is one taste's; give groups=1")
        rank = min(4, features) if rank is None else rank
        if not 1 <= rank <= features or kappa <= 0:
            raise OptionError(f"rank {rank} is not from 1 to the {features} features, or kappa {kappa} not above 0")
        self.settings = {"features": features, "groups": groups, "rank": rank, "kappa": kappa}
        self.groups, self.kappa, self.projector = 1, kappa, nn.Identity()
        self.narrow, self.widen = nn.Parameter(torch.empty(rank, features)), nn.Parameter(torch.empty(features, rank))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin again with the identity."""
        self.narrow.data = torch.randn_like(self.narrow) / self.narrow.shape[1] ** 0.5
        nn.init.zeros_(self.widen)

    def embed(self, items: Tensor) -> Tensor:
        """y + U V y."""
        return items + items @ self.narrow.T @ self.widen.T

    def wish(self, weights: Tensor, prompts: Tensor | None) -> Tensor:
        """The prompt as it is."""
        if prompts is None:
            raise OptionError("an adapter stands between response and prompt; give the features of each prompt")
        if prompts.shape[-1] != self.settings["features"]:
            raise OptionError(
                f"prompts have {prompts.shape[-1]} features and responses {self.settings['features']}; an adapter "
                "needs both in one space, from one encoder or two that were trained together"
            )
        return prompts

    def nearness(self, place: Tensor, wish: Tensor) -> Tensor:
        """The scaled cosine."""
        return self.kappa * nn.functional.cosine_similarity(place, wish, dim=-1)
