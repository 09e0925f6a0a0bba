"""Directions of hidden states that tell which text is preferred, layer by layer: a part of `benchmarks.explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.explain_texts import Array, Choices
from pluralign.evaluate.explain import probe_layers
from pluralign.evaluate.figures import preferred, share
from pluralign.lab.tiny import PRESETS, new_model
from pluralign.models.features import MINILM, packaged
from pluralign.policy.embed import embedder
from pluralign.policy.load import load

PAIRS = 700
RIDGES = (10.0, 100.0, 1000.0, 10000.0)
STEPS, TOKENS = 60, 128
JUDGES = ("arguments, crowd", "harmless replies, crowd")
SMALL, UNTRAINED = "lab:small", "lab:small, untrained"


def probes(every: dict[str, Choices], data: Path) -> dict[str, Any]:
    """Probes of MiniLM and of a language model made from the texts, and of the same before it learnt anything."""
    from transformers import AutoModel, AutoTokenizer

    found: dict[str, Any] = {}
    for name in JUDGES:
        choices = every[name].some(PAIRS)
        texts = sorted({text for pair in choices.texts for text in pair})
        length = np.sign([len(a) - len(b) for a, b in choices.texts])
        right = preferred(length.astype(float) * (1 if length.mean() > 0 else -1))
        place = packaged(MINILM)
        small, words = load("lab:small", texts=texts, steps=STEPS)
        models = {
            "MiniLM": (AutoModel.from_pretrained(place), AutoTokenizer.from_pretrained(place)),
            SMALL: (small, words),
            UNTRAINED: (new_model(PRESETS["small"], words, 0), words),
        }
        found[name] = {"n": len(choices.texts), "groups": len(np.unique(choices.group)), "layers": {}}
        found[name] |= {"rule": "longer" if length.mean() > 0 else "shorter", "tokens": TOKENS, "steps": STEPS}
        found[name]["length"] = share(right, choices.group).as_dict()
        for kind, (model, tokenizer) in models.items():
            states = embedder(model, tokenizer, layer=None, max_length=TOKENS)(texts)
            at = {text: i for i, text in enumerate(texts)}
            gaps: Array = np.stack([states[at[a]] - states[at[b]] for a, b in choices.texts], 1)
            table = probe_layers(gaps, choices.group, baseline=right, ridge=RIDGES)
            found[name]["layers"][kind] = table.to_dicts()
    return found
