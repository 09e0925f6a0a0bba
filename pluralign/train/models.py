"""The models of a run: the policy as it begins, what it is held to, adapters on it, the result."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from pluralign.errors import OptionError
from pluralign.feedback import Feedback
from pluralign.policy.ability import plain_only
from pluralign.policy.load import load, save
from pluralign.policy.rewards import load_reward, with_head
from pluralign.progress import bar
from pluralign.train import heads
from pluralign.train.options import AlignOptions
from pluralign.train.run import Run, is_main
from pluralign.train.trainer import PolicyTrainer


def starting_model(
    run: Run, settings: AlignOptions, train: Feedback, console: Console, resume: bool
) -> tuple[Any, Any]:
    """The policy, or the reward, before its first step, and its tokenizer; made on the spot where it is of the lab."""
    model, tokenizer = _loaded_or_made(run, settings, train, console, resume)
    if settings.plain:
        plain_only(model)
    return model, tokenizer


def _loaded_or_made(
    run: Run, settings: AlignOptions, train: Feedback, console: Console, resume: bool
) -> tuple[Any, Any]:
    saved = run.path / "reference"
    made = settings.model.startswith("lab:")
    # One left by an attempt that failed may be of other options.
    kept = resume and saved.is_dir()
    if kept or not made:
        name = str(saved) if kept else settings.model
        if settings.reward:
            return load_reward(name, dtype=settings.dtype, seed=settings.seed)
        return load(name, dtype=settings.dtype)
    from pluralign.lab.tiny import written

    texts = sorted({written((*j.prompt, *r.messages)) for j in train for r in j.responses})
    with bar(f"making {settings.model}", None, console) as step:
        model, tokenizer = load(
            settings.model, texts=texts, seed=settings.seed, steps=settings.pretrain_steps, progress=step
        )
    if settings.reward:
        model, tokenizer = with_head(model, tokenizer, seed=settings.seed)
    if is_main():
        # Made once: what is resumed, evaluated and compared with is this very model.
        save(saved, model, tokenizer)
    return model, tokenizer


def reference_model(settings: AlignOptions, policy: Any) -> Any:
    """The model that the policy is held to: another one where it is named, else the policy as it is now."""
    if settings.reference_model is None:
        return policy
    model, _ = load(settings.reference_model, dtype=settings.dtype)
    if model.config.get_text_config().vocab_size != policy.config.get_text_config().vocab_size:
        raise OptionError(
            f"{settings.reference_model} has another vocabulary than {settings.model}, so its log-probs are not of the "
            "same tokens; name a reference of the same family"
        )
    if settings.plain:
        plain_only(model)
    return model


def with_adapters(model: Any, settings: AlignOptions) -> Any:
    """The model with low-rank adapters on all its linear layers, if they are asked for."""
    if settings.lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    alpha = settings.lora_alpha or 2 * settings.lora
    task = "SEQ_CLS" if settings.reward else "CAUSAL_LM"
    adapters = LoraConfig(r=settings.lora, lora_alpha=alpha, target_modules="all-linear", task_type=task)
    return get_peft_model(model, adapters)


def save_result(run: Run, trainer: PolicyTrainer, tokenizer: Any) -> None:
    """The result, adapters merged into it; the adapters alone beside it."""
    policy = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(policy, "merge_and_unload"):
        policy.save_pretrained(run.path / "adapter")
        policy = policy.merge_and_unload()
    if trainer.head is not None:
        heads.save(trainer.head, run.path)
    save(run.path / "model", policy, tokenizer)
