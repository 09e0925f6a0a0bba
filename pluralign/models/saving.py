"""A fitted model as a folder: what it is in JSON, its numbers in safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from pluralign.errors import FeedbackError, OptionError
from pluralign.feedback.storage import whole_file
from pluralign.models.features import Features

if TYPE_CHECKING:
    from pluralign.models.population import Population


def save(model: Population, folder: Path) -> Path:
    """See `Population.save`."""
    features = model.features
    about: dict[str, Any] = {
        "population": type(model).__name__,
        "score": type(model.scorer).__name__,
        "settings": model.scorer.settings,
        "training": model.settings,
        "training_loss": model.loss_,
        "people": list(model.people_),
        "plurality": None if model.plurality_ is None else asdict(model.plurality_),
        "features": None
        if features is None
        else {
            "encoder": features.encoder if isinstance(features.encoder, str) else None,
            "apart": features.apart,
            "pooling": features.pooling,
            "names": features.names,
            "centre": None if features.centre is None else features.centre.tolist(),
            "scale": None if features.scale is None else features.scale.tolist(),
        },
    }
    tensors = {f"score.{name}": value.contiguous() for name, value in model.scorer.state_dict().items()}
    tensors |= {f"kept.{name}": torch.as_tensor(np.array(getattr(model, name))) for name in model.kept}
    with whole_file(folder / "weights.safetensors") as temporary:
        save_file(tensors | {"people": model._weights.contiguous()}, temporary)
    with whole_file(folder / "model.json") as temporary:
        temporary.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def load(folder: Path, encoder: Any = None) -> Population:
    """See `Population.load`."""
    from pluralign import models
    from pluralign.models.fitting import Plurality

    if not (folder / "model.json").is_file():
        raise FeedbackError(f"{folder}: holds no preference model (model.json is not there); name one saved by fit")
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    kind = getattr(models, about.get("population", "PreferenceModel"))
    score = getattr(models, about["score"])(**about["settings"])
    # A preference model is given its score; the others make their own.
    model: Population = (
        kind(score, **about["training"]) if kind is models.PreferenceModel else kind(**about["training"])
    )
    model.scorer = score
    tensors = load_file(folder / "weights.safetensors")
    model._weights = tensors.pop("people")
    for name in model.kept:
        if (found := tensors.pop(f"kept.{name}", None)) is not None:
            setattr(model, name, found.numpy())
    model.scorer.load_state_dict({name.removeprefix("score."): value for name, value in tensors.items()})
    model.scorer.requires_grad_(False)
    model.people_, model.loss_ = tuple(about["people"]), about["training_loss"]
    model.plurality_ = None if about["plurality"] is None else Plurality(**about["plurality"])
    if (known := about["features"]) is not None:
        given = known["encoder"] or encoder
        if given is None:
            raise OptionError(f"{folder}: was fitted with a function as encoder; give it: load(folder, encoder=...)")
        model.features = Features(given, apart=known["apart"], pooling=known.get("pooling", "mean"))
        model.features.names = known["names"]
        if known["centre"] is not None:
            model.features.centre, model.features.scale = np.array(known["centre"]), np.array(known["scale"])
    return model
