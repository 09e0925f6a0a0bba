"""The options of `align`: its own, the objective's and the trainer's, told apart by name and checked."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import annotated_types
import pydantic
import yaml

from pluralign.errors import OptionError
from pluralign.objectives import Objective, catalogue, find

SET_HERE = {"output_dir", "seed", "data_seed", "remove_unused_columns", "resume_from_checkpoint", "label_names"}
"""Arguments of the trainer that `align` gives itself."""
WITHOUT_EFFECT = {
    "average_tokens_across_devices", "batch_eval_metrics", "bf16_full_eval", "do_eval", "do_predict", "do_train",
    "eval_accumulation_steps", "eval_do_concat_batches", "eval_use_gather_object", "fp16_full_eval",
    "include_for_metrics", "include_num_input_tokens_seen", "label_smoothing_factor", "length_column_name",
    "prediction_loss_only", "use_cache",
}  # fmt: skip
"""Arguments that the stock trainer's loss and evaluation read, and ours do not; taking them would be silence."""
AtLeastOne, MoreThanNone, NotNegative = annotated_types.Ge(1), annotated_types.Gt(0), annotated_types.Ge(0)
BOUNDS = {
    "per_device_train_batch_size": AtLeastOne, "per_device_eval_batch_size": AtLeastOne,
    "gradient_accumulation_steps": AtLeastOne, "num_train_epochs": MoreThanNone, "logging_steps": MoreThanNone,
    "save_steps": MoreThanNone, "learning_rate": NotNegative, "weight_decay": NotNegative,
    "max_grad_norm": NotNegative, "dataloader_num_workers": NotNegative,
}  # fmt: skip
"""What `TrainingArguments` takes and its trainer then fails on, or quietly reads as something else."""


class AlignOptions(pydantic.BaseModel):
    """What `align` itself takes; objective and training options stand beside these under their own names."""

    model_config = pydantic.ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: str
    """A folder, a hub name, or lab:tiny, lab:small, lab:base."""
    objective: str = "dpo"
    """A name from the catalogue, or a sum such as 0.8*dpo + 0.2*bco + sft."""
    reward: bool = False
    """Train a reward, a number from the last token, in place of a policy; objectives read rewards as log-ratios."""
    data: str | None = None
    """File, folder or hub name of the feedback."""
    format: str | None = None
    """Its format; detected when left out."""
    columns: dict[str, str] | None = None
    """Our field -> the source's column."""
    ignore: list[str] = []
    """Columns of the record to leave unused, margin for instance."""
    eval_data: str | float = 0.1
    """A source of held-out feedback, or the share of rows to hold out; 0 for none."""
    split_by: str = "prompt"
    """Rows that agree in this are never on both sides: prompt, annotator, item, time, a column or meta.NAME."""
    max_length: int | None = pydantic.Field(1024, ge=2)
    """Most tokens of prompt and response together."""
    truncation: Literal["keep_end", "keep_start", "drop"] = "keep_end"
    """What gives way: the prompt's beginning, the responses' ends, or the row."""
    max_tokens_per_batch: int | None = pydantic.Field(None, ge=1)
    """Most tokens of a training batch on a device, in place of per_device_train_batch_size: rows of like length come
    together, as many as fit, a prompt counted once. A row that is longer is a batch of its own."""
    lora: int | None = pydantic.Field(None, ge=1)
    """Rank of LoRA adapters on all linear layers; left out, every weight is trained."""
    lora_alpha: int | None = pydantic.Field(None, gt=0)
    """Scale of the adapters; twice the rank when left out."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number type of the weights."""
    plain: bool = False
    """Score every response whole, padded, with the model's own logits; slower, for comparison."""
    reference_cache: str | None = None
    """Folder of reference log-probs, shared between runs; reference-cache in the run's own when left out."""
    pretrain_steps: int | None = pydantic.Field(None, ge=1)
    """Optimizer steps that make a lab: model; its preset's when left out."""
    aspect: str | None = None
    """Which rating of the responses counts, where there are several."""
    rating_range: tuple[float, float] | None = None
    """Lowest and highest rating, moved to 0 and 1; ratings count as they are when left out."""
    reference_model: str | None = None
    """A folder or hub name of the model to be held to; the model itself, as it was at the start, when left out."""
    frozen_models: list[str] = []
    """Further models that some objectives compare with (modpo: aligned otherwise; spo_seq: earlier rounds)."""
    sync_ref_model: bool = False
    """Let the reference follow the policy: trust-region DPO, with any objective on log-ratios."""
    ref_model_mixup_alpha: float = pydantic.Field(0.6, gt=0, le=1)
    """How far the reference moves towards the policy each time; 1 makes it the policy."""
    ref_model_sync_steps: int = pydantic.Field(512, ge=1)
    """Optimizer steps between two moves of the reference."""
    token_masks: Literal["activations", "common", "independent"] = "activations"
    """How sparse_po finds the tokens that count: the reference's activations, or a trained head, of one mask or two."""
    degrees: int = pydantic.Field(4, ge=2)
    """Degrees of degraded responses that spo_selfsup tells apart, the whole one among them."""
    sparse_autoencoder: str | None = None
    """Weights (safetensors) of a frozen sparse autoencoder on feature_layer, whose features fpo compares."""
    feature_layer: int = -1
    """Hidden layer whose states give the features and embeddings that some objectives need; -1 is the last."""
    seed: int = 0
    """Of the split, of lab models, of the order of rows."""

    @pydantic.field_validator("ignore", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        # On the command line a list of one or more is written as text.
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def resolve(given: Mapping[str, Any]) -> tuple[AlignOptions, Objective, dict[str, Any], dict[str, Any]]:
    """Sort options by whom they belong to and check each: (ours, objective, its options, training arguments).

    Raises `OptionError` for an unknown name, with the nearest known ones, and for a value out of bounds.
    """
    name = given.get("objective", "bradley_terry" if given.get("reward") else "dpo")
    known = catalogue()
    objective = objective_of(str(name), reward=bool(given.get("reward")))
    own, its, training = {}, {}, {}
    arguments = training_names()
    for key, value in given.items():
        if key in AlignOptions.model_fields:
            own[key] = value
        elif key in objective.options.model_fields:
            its[key] = value
        elif key in arguments:
            training[key] = _of_type(key, value)
        else:
            holders = [o.name for o in known.values() if key in o.options.model_fields]
            where = f"; it is an option of {', '.join(holders)}" if holders else ""
            names = [*AlignOptions.model_fields, *objective.options.model_fields, *arguments]
            raise OptionError(f"{name} does not use '{key}', nor does align or the trainer{where}{_near(key, names)}")
    try:
        return AlignOptions(**own | {"objective": name}), objective, objective.checked(its), training
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        option = ".".join(map(str, first["loc"]))
        raise OptionError(f"option '{option}' = {first.get('input')!r}: {first['msg']}") from None


def objective_of(name: str, *, reward: bool) -> Objective:
    """The objective of this name or expression; for a reward model, its losses too."""
    if not reward:
        return find(name)
    from pluralign.models.losses import find_loss

    return find_loss(name)


def training_names() -> list[str]:
    """Names of `transformers.TrainingArguments` that may be given: those that `align` does not set, and that matter."""
    from transformers import TrainingArguments

    names = inspect.signature(TrainingArguments).parameters
    return [name for name in names if name not in SET_HERE | WITHOUT_EFFECT]


def _of_type(name: str, value: Any) -> Any:
    """A number or a flag as such, within its bounds: YAML reads 1e-5 as text; `TrainingArguments` checks nothing."""
    kind = _training_types()[name]
    if not {*(get_args(kind) or (kind,))} <= {int, float, bool, type(None)}:
        return value
    bounded: Any = Annotated[kind, BOUNDS[name]] if name in BOUNDS else kind
    try:
        checked = pydantic.TypeAdapter(bounded, config=pydantic.ConfigDict(allow_inf_nan=False)).validate_python(value)
    except pydantic.ValidationError as error:
        raise OptionError(f"option '{name}' = {value!r}: {error.errors()[0]['msg']}") from None
    if name == "max_steps" and checked == 0:
        raise OptionError("option 'max_steps' = 0: there would be no step; give 1 or more, or -1 for whole epochs")
    return checked


@cache
def _training_types() -> dict[str, Any]:
    from transformers import TrainingArguments

    return get_type_hints(TrainingArguments)


def read_config(path: str | Path) -> dict[str, Any]:
    """Options from a YAML or JSON file; a run's config.json gives the options of that run."""
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise OptionError(f"cannot read the config {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise OptionError(f"the config {path} is not valid YAML: {' '.join(str(error).split())}") from None
    if isinstance(values, dict) and isinstance(values.get("options"), dict):
        values = values["options"]
    if not isinstance(values, dict):
        raise OptionError(f"the config {path} should hold option: value lines, and holds a {type(values).__name__}")
    return values


def _near(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
