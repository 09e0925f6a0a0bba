"""Small modules that are trained beside the policy and not needed afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pluralign.objectives import Need

FILE = "head.safetensors"
WEIGHT_DECAY = 0.01


class MaskHead(torch.nn.Module):
    """SparsePO's trained masks: how much each token's log-ratio counts, and its divergence, from hidden states.

    Of each layer a normed linear map to one number, ReLU; layers mixed without bias, ReLU. common: one mask for both,
    else two. Starts near 1 everywhere, that is near tdpo1. The paper's dropout of 0.1 is left out: a step must not
    depend on how it is cut.

    >>> masks = MaskHead(layers=3, hidden=4, common=True)([torch.zeros(2, 5, 4)] * 3)
    >>> [tuple(mask.shape) for mask in masks], bool((masks[0] == 1).all())
    ([(2, 5), (2, 5)], True)
    """

    def __init__(self, layers: int, hidden: int, *, common: bool) -> None:
        super().__init__()
        count = 1 if common else 2
        maps = [torch.nn.Linear(hidden, 1) for _ in range(count * layers)]
        mixes = [torch.nn.Linear(layers, 1, bias=False) for _ in range(count)]
        for each in maps:
            torch.nn.init.normal_(each.weight, std=0.02)
            torch.nn.init.ones_(each.bias)
        for mix in mixes:
            torch.nn.init.constant_(mix.weight, 1 / layers)
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(hidden) for _ in maps)
        self.maps, self.mixes = torch.nn.ModuleList(maps), torch.nn.ModuleList(mixes)

    def forward(self, states: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks of log-ratios and of divergences, [N, T] each, from hidden states of all layers, [N, T, H] each."""
        layers, masks = len(states), []
        for i, mix in enumerate(self.mixes):
            own = slice(i * layers, (i + 1) * layers)
            found = [
                torch.relu(line(norm(state.detach().to(line.weight.dtype))))[..., 0]
                for state, norm, line in zip(states, self.norms[own], self.maps[own], strict=True)
            ]
            masks.append(torch.relu(mix(torch.stack(found, -1)))[..., 0])
        return masks[0], masks[-1]


class DegreeHead(torch.nn.Module):
    """Tells from the last hidden state of a text to which degree it was degraded: one linear layer.

    >>> loss = DegreeHead(hidden=4, degrees=3)(torch.zeros(2, 4), torch.tensor([0, -1]))
    >>> [round(value, 4) for value in loss.tolist()]
    [1.0986, 0.0]
    """

    def __init__(self, hidden: int, degrees: int) -> None:
        super().__init__()
        self.line = torch.nn.Linear(hidden, degrees)
        torch.nn.init.zeros_(self.line.bias)

    def forward(self, states: torch.Tensor, degree: torch.Tensor) -> torch.Tensor:
        """Cross-entropy [B] of degrees [B] given states [B, H]; 0 where the degree is -1, not known."""
        logits = self.line(states.to(self.line.weight.dtype))
        loss = torch.nn.functional.cross_entropy(logits, degree.clamp(min=0), reduction="none")
        return torch.where(degree >= 0, loss, torch.zeros_like(loss))


def make(config: Any, needs: set[Need], masks: str, degrees: int, seed: int) -> torch.nn.Module | None:
    """The head that an objective with these needs trains with, for a model of this config; None if it needs none."""
    text = config.get_text_config()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if Need.AUXILIARY in needs:
            return DegreeHead(text.hidden_size, degrees)
        if Need.TOKEN_WEIGHTS in needs and masks != "activations":
            return MaskHead(text.num_hidden_layers + 1, text.hidden_size, common=masks == "common")
    return None


def save(head: torch.nn.Module, folder: Path) -> None:
    """Write the head's weights into a folder."""
    save_file({name: p.detach().cpu().contiguous() for name, p in head.state_dict().items()}, folder / FILE)


def load(head: torch.nn.Module, folder: Path) -> None:
    """Take up the weights that `save` wrote."""
    head.load_state_dict(load_file(folder / FILE))
