"""A fitted model as a folder: what it is in JSON, its numbers in safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pluralign.errors import FeedbackError, OptionError, one_line
from pluralign.feedback.storage import whole_file
from pluralign.models.features import Features
from pluralign.models.fitted import Fitted
from pluralign.objectives import Objective

VERSION = 1
"""Of the folder. One that is written otherwise than this page says gets the next number."""
ABOUT, NUMBERS = "model.json", "weights.safetensors"


def save(model: Fitted, folder: str | Path) -> Path:
    """See `Fitted.save`."""
    from pluralign import __version__

    into, tensors = Path(folder), dict[str, Tensor]()
    about = {"version": VERSION, "pluralign": __version__, "model": _written(model, "", tensors)}
    with whole_file(into / NUMBERS) as temporary:
        save_file(tensors, temporary)
    with whole_file(into / ABOUT) as temporary:
        temporary.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return into


def load(folder: str | Path, encoder: Any = None, loss: Objective | None = None) -> Any:
    """A saved model of any kind; see `Fitted.load`."""
    at = Path(folder)
    if not (at / ABOUT).is_file():
        raise FeedbackError(f"{at}: holds no fitted model ({ABOUT} is not there); name a folder that one was saved in")
    try:
        about = json.loads((at / ABOUT).read_text(encoding="utf-8"))
        version = about.get("version", 0)
        if version == VERSION:
            return _Reading(at, load_file(at / NUMBERS), encoder, loss).value(about["model"])
    except (OSError, SafetensorError, LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise FeedbackError(f"{at}: is damaged or not whole ({one_line(error)}); save the model again") from None
    known = f"format {version}" if version else "a format before the first that is numbered"
    remedy = "fit and save the model again" if version < VERSION else "update pluralign"
    raise OptionError(f"{at}: holds a model in {known}, and this pluralign reads format {VERSION}; {remedy}")


def _written(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON; arrays go to `tensors` under its name."""
    match value:
        case None | bool() | str():
            return value
        case int() | float():
            number = value.item() if isinstance(value, np.generic) else value
            return number if isfinite(number) else {"$number": str(number)}
        case np.generic() | np.ndarray():
            tensors[name] = torch.as_tensor(np.array(value))
            return {"$array": name}
        case Tensor():
            tensors[name] = value.detach().clone().contiguous()
            return {"$tensor": name}
        case list() | tuple():
            each = [_written(one, f"{name}.{i}", tensors) for i, one in enumerate(value)]
            return each if isinstance(value, list) else {"$tuple": each}
        case dict():
            pairs = enumerate(value.items())
            return {"$dict": [[_written(k, "", tensors), _written(v, f"{name}.{i}", tensors)] for i, (k, v) in pairs]}
        case Fitted():
            kind = _public(type(value))
            if not hasattr(value, value.learnt):
                raise OptionError(f"this {kind} is not fitted, so that there is nothing to save; fit it first")
            start = f"{name}." if name else ""
            return {"$model": kind, **{k: _written(v, start + k, tensors) for k, v in vars(value).items()}}
        case nn.Module():
            parts = value.state_dict().items()
            tensors |= {f"{name}.{part}": each.detach().clone().contiguous() for part, each in parts}
            return {"$module": _public(type(value)), "at": name, "settings": value.settings}
        case Objective():
            return {"$loss": value.name}
        case Features():
            known: dict[str, Any] = {"encoder": value.encoder if isinstance(value.encoder, str) else None}
            known |= {part: getattr(value, part) for part in ("apart", "pooling", "aspect", "names")}
            for part in ("centre", "scale", "prompts"):
                known[part] = _written(getattr(value, part), f"{name}.{part}", tensors)
            return {"$features": known}
    from pluralign.models.fitting import Plurality

    if isinstance(value, Plurality):
        return {"$plurality": asdict(value)}
    raise OptionError(f"a {type(value).__name__} ({name}) cannot be saved; take one of those of pluralign.models")


def _public(kind: type) -> str:
    from pluralign import models

    name: str = kind.__name__
    if getattr(models, name, None) is not kind:
        raise OptionError(f"{name} is a class of your own, which a file cannot hold; keep its numbers yourself")
    return name


class _Reading:
    """What `_written` wrote, back again."""

    def __init__(self, folder: Path, tensors: dict[str, Tensor], encoder: Any, loss: Objective | None) -> None:
        self.folder, self.tensors, self.encoder, self.loss = folder, tensors, encoder, loss

    def value(self, given: Any) -> Any:
        if isinstance(given, list):
            return [self.value(each) for each in given]
        if not isinstance(given, dict):
            return given
        match given:
            case {"$number": text}:
                return float(text)
            case {"$array": name}:
                return self.tensors[name].numpy()
            case {"$tensor": name}:
                return self.tensors[name]
            case {"$tuple": each}:
                return tuple(self.value(each))
            case {"$dict": pairs}:
                return {self.value(k): self.value(v) for k, v in pairs}
            case {"$model": kind, **attributes}:
                model = object.__new__(self.public(kind, Fitted))
                vars(model).update({name: self.value(each) for name, each in attributes.items()})
                return model
            case {"$module": kind, "at": at, "settings": settings}:
                module = self.public(kind, nn.Module)(**settings)
                start = f"{at}."
                own = {name.removeprefix(start): v for name, v in self.tensors.items() if name.startswith(start)}
                module.load_state_dict(own, assign=True)
                return module.requires_grad_(False).eval()
            case {"$loss": name}:
                return self.named(name)
            case {"$features": known}:
                return self.features(known)
            case {"$plurality": known}:
                from pluralign.models.fitting import Plurality

                return Plurality(**known)
        raise LookupError(f"{ABOUT} says {', '.join(given)}")

    def public(self, name: str, of: type) -> Any:
        """The class of this name."""
        from pluralign import models

        found = getattr(models, name, None) if name in models.__all__ else None
        if not (isinstance(found, type) and issubclass(found, of)):
            raise OptionError(f"{self.folder}: holds '{name}', which this pluralign does not know; update pluralign")
        return found

    def named(self, name: str) -> Objective:
        """The loss of this name."""
        from pluralign.models.losses import find_loss

        try:
            return find_loss(name)
        except OptionError:
            if self.loss is None:
                raise OptionError(
                    f"{self.folder}: was fitted with a loss of your own, {name}; give it: load(folder, loss=...)"
                ) from None
            return self.loss

    def features(self, known: dict[str, Any]) -> Features:
        """What reads feedback."""
        given = known["encoder"] or self.encoder
        if given is None:
            raise OptionError(
                f"{self.folder}: was fitted with a function as encoder; give it: load(folder, encoder=...)"
            )
        made = Features(given, apart=known["apart"], pooling=known["pooling"], aspect=known["aspect"])
        made.names, made.centre, made.scale = known["names"], self.value(known["centre"]), self.value(known["scale"])
        made.prompts = self.value(known.get("prompts"))
        return made
