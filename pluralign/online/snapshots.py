"""The policies of a run by name: the one it starts from, mixtures of them, and how they outlive a round."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from rich.console import Console

from pluralign.online.drawn import prompt_key
from pluralign.online.folder import OnlineRun
from pluralign.online.inputs import Prompts
from pluralign.online.samples import Anchors
from pluralign.online.settings import OnlineOptions
from pluralign.online.student import save
from pluralign.policy.load import load
from pluralign.policy.load import save as save_model
from pluralign.progress import bar
from pluralign.train.run import Run


def first_model(folder: OnlineRun, settings: OnlineOptions, asked: Prompts, console: Console) -> tuple[Any, Any]:
    """The model to start from and its tokenizer; one made on the spot is made once and kept."""
    saved = folder.path / "reference"
    if saved.is_dir():
        return load(str(saved), dtype=settings.dtype)
    if not settings.model.startswith("lab:"):
        return load(settings.model, dtype=settings.dtype)
    from pluralign.lab.tiny import written

    texts = sorted({written((*p, *asked.answers.get(prompt_key(p), ()))) for p in asked.prompts})
    with bar(f"making {settings.model}", None, console) as step:
        model, tokenizer = load(
            settings.model, texts=texts, seed=settings.seed, steps=settings.pretrain_steps, progress=step
        )
    save_model(saved, model, tokenizer)
    return model, tokenizer


def mixed(snapshots: Mapping[str, Any], weights: Anchors) -> Any:
    """The policy that a mixture of snapshots stands for.

    Of several, the weights are summed: for a policy whose logits are linear in its weights that is the geometric
    mixture itself, for others the usual stand-in.
    """
    chosen = {name: weight for name, weight in weights.items() if weight}
    if list(chosen.values()) == [1.0]:
        return snapshots[next(iter(chosen))]
    found = copy.deepcopy(snapshots[next(iter(chosen))])
    parts = [(dict(snapshots[name].named_parameters()), weight) for name, weight in chosen.items()]
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            parameter.copy_(sum(weight * own[name] for own, weight in parts))
    return found


def keep(
    run: Run, names: Iterable[str], snapshots: Mapping[str, Any], deployed: Any, states: Mapping[int, dict[str, Any]]
) -> None:
    """Write what the next round needs beside the model of this one: other snapshots, what students carry on."""
    others = sorted(name for name in set(names) if snapshots[name] is not deployed)
    save(
        run.path / "state.pt", {"snapshots": {name: snapshots[name].state_dict() for name in others}, "states": states}
    )


def take_up(run: Run, names: Iterable[str], dtype: str) -> tuple[dict[str, Any], dict[int, dict[str, Any]]] | None:
    """What `keep` wrote, the model under every name that has no weights of its own; None where it was let go."""
    if not (run.path / "state.pt").is_file():
        return None
    model, _ = load(str(run.path / "model"), dtype=dtype)
    state = torch.load(run.path / "state.pt", weights_only=True)
    found = dict.fromkeys({*names, "previous"}, model)
    for name, weights in state["snapshots"].items():
        found[name] = copy.deepcopy(model)
        found[name].load_state_dict(weights)
    return found, state["states"]
