"""`align`: feedback and a language model in, an aligned model in a run directory out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import PrinterCallback, set_seed

from pluralign.errors import OptionError
from pluralign.objectives import Need, Objective
from pluralign.policy.encode import Encoder
from pluralign.policy.reference import ReferenceCache
from pluralign.policy.sparse_features import sparse_encoder
from pluralign.policy.statistics import Reference
from pluralign.progress import bar
from pluralign.train import heads, moving
from pluralign.train.arguments import training_arguments
from pluralign.train.batches import Examples
from pluralign.train.callbacks import RunLog, StopAfterStep
from pluralign.train.data import Prepared, Wanted, check_columns, kind_for, prepare
from pluralign.train.given import given_feedback, given_options
from pluralign.train.models import reference_model, save_result, starting_model, with_adapters
from pluralign.train.moving import MovingReference
from pluralign.train.options import AlignOptions, resolve
from pluralign.train.record import print_rows, record, record_reference
from pluralign.train.references import print_ways, with_reference
from pluralign.train.resume import check_same, newest_checkpoint
from pluralign.train.run import Run, is_main
from pluralign.train.scorer import COMPUTED, LIVE, OF_REWARDS
from pluralign.train.trainer import PolicyTrainer


def align(
    data: Any = None,
    model: str | None = None,
    objective: str | None = None,
    *,
    output_dir: str | Path,
    eval_data: Any = None,
    config: str | Path | Mapping[str, Any] | None = None,
    resume: bool = False,
    **options: Any,
) -> Run:
    """Train a language model on feedback and leave everything in `output_dir`.

    data: anything `pluralign.read` takes, or `Feedback`. model: a folder, a hub name or `lab:tiny`. objective: a name
    from `pluralign.objectives.catalogue()`. eval_data: held-out feedback, or the share of rows to hold out (0.1).
    config: a YAML file or mapping of options; those given here overrule it. resume: go on from the newest checkpoint.
    options: the objective's (`beta=0.1`), those of `AlignOptions` (`max_length`, `lora`, ...) and those of
    `transformers.TrainingArguments` (`learning_rate`, `max_steps`, ...).

    Returns the `Run`. Raises `OptionError` and `FeedbackError`, before the first step, for what does not fit together.

    >>> import tempfile
    >>> pairs = [{"prompt": f"{i} plus {i}?", "chosen": f"{i + i}", "rejected": "no idea"} for i in range(20)]
    >>> folder = tempfile.mkdtemp()
    >>> run = align(pairs, "lab:tiny", "simpo", output_dir=folder, max_steps=1, pretrain_steps=1)
    >>> run.metrics[-1]["split"], run.finished
    ('eval', True)
    """
    run = Run(Path(output_dir))
    given = given_options(run, data, model, objective, eval_data, config, resume, options)
    settings, goal, goal_options, training = resolve(given)
    _check(run, settings, goal, goal_options, resume)
    console = Console(stderr=True, quiet=not is_main())
    train, held_out, provenance = given_feedback(settings.data if data is None else data, eval_data, settings, console)
    for part in (train, held_out):
        if part is not None:
            check_columns(part, goal)
            kind_for(part, goal)
    arguments = training_arguments(run.path, settings, goal, training, evaluates=held_out is not None)
    if resume:
        check_same(run, given, provenance, arguments.world_size)
    encode = _sparse_encoder(settings, goal, needs := goal.needs(**goal_options), arguments.device)
    set_seed(settings.seed)
    policy, tokenizer = starting_model(run, settings, train, console, resume)
    held_to = reference_model(settings, policy)
    encoder = Encoder(tokenizer, max_length=settings.max_length, truncation=settings.truncation)
    wanted = _wanted(settings, goal, needs)
    with bar("encoding", len(train), console) as step:
        prepared = prepare(train, goal, encoder, step, wanted)
    evaluated = None if held_out is None else prepare(held_out, goal, encoder, wanted=wanted)
    print_rows(prepared, evaluated, console)
    cache = ReferenceCache(settings.reference_cache or run.path / "reference-cache")

    def scored(part: Prepared) -> Examples:
        return with_reference(part, held_to, goal, goal_options, settings, cache, arguments, console)

    examples, held_examples = scored(prepared), None if evaluated is None else scored(evaluated)
    if is_main():
        record_reference(run, settings, held_to, resume)
        record(run, given, goal, goal_options, arguments, provenance, prepared, evaluated, held_out)
    live = bool(needs & LIVE) or settings.sync_ref_model
    apart = settings.reference_model is not None
    frozen = copy.deepcopy(held_to).requires_grad_(False) if live and (settings.lora is None or apart) else None
    policy = with_adapters(policy, settings)
    trainer = PolicyTrainer(
        reference=Reference(frozen or policy) if live else None,
        moving=settings.sync_ref_model,
        max_tokens=settings.max_tokens_per_batch,
        head=heads.make(policy.config, needs, settings.token_masks, settings.degrees, settings.seed),
        feature_layer=settings.feature_layer,
        encode=encode,
        objective=goal,
        options=goal_options,
        reward=settings.reward,
        pad_id=tokenizer.pad_token_id,
        model=policy,
        args=arguments,
        train_dataset=examples,
        eval_dataset=held_examples,
        processing_class=tokenizer,
    )
    if not settings.reward:
        print_ways(trainer, examples, cache, console)
    checkpoint = newest_checkpoint(run.path) if resume else None
    if settings.sync_ref_model and frozen is not None:
        follow = MovingReference(frozen, settings.ref_model_sync_steps, settings.ref_model_mixup_alpha)
        if checkpoint:
            follow.load(checkpoint)
        trainer.add_callback(follow)
    _train(trainer, run, checkpoint, console)
    if is_main():
        save_result(run, trainer, tokenizer)
        following = "" if settings.reward else f"\nnext: pluralign evaluate {run.path}"
        console.print(f"\ndone: {run.path}{following}")
    trainer.accelerator.wait_for_everyone()
    return Run.open(run.path)


def _train(trainer: PolicyTrainer, run: Run, checkpoint: Path | None, console: Console) -> None:
    """All steps, or those after the checkpoint; the held-out rows are evaluated after the last one."""
    stopper = StopAfterStep()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(RunLog(run, console))
    trainer.add_callback(stopper)
    if is_main():
        run.forget_after(int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0)
    with stopper.listening():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stopper.asked:
        raise KeyboardInterrupt(f"stopped after step {trainer.state.global_step}; continue with --resume")
    # Not from metrics.jsonl, which only one process writes: all must decide alike.
    if trainer.eval_dataset is not None and not any(
        "eval_loss" in m and m["step"] == trainer.state.global_step for m in trainer.state.log_history
    ):
        trainer.evaluate()


def _check(run: Run, settings: AlignOptions, goal: Objective, goal_options: dict[str, Any], resume: bool) -> None:
    moving.check(settings, goal, goal_options)
    if settings.reward:
        _check_reward(settings, goal, goal_options)
    elif lacking := goal.needs(**goal_options) - COMPUTED:
        raise OptionError(
            f"{goal.name} needs {', '.join(sorted(lacking))}, which align does not compute; "
            f"call it from a loop of your own"
        )
    if (run.path / "config.json").exists() and not resume:
        raise OptionError(f"{run.path} already holds a run; choose another folder, or continue it with --resume")


def _check_reward(settings: AlignOptions, goal: Objective, goal_options: Mapping[str, Any]) -> None:
    if lacking := goal.needs(**goal_options) - OF_REWARDS:
        raise OptionError(
            f"{goal.name} needs {', '.join(sorted(lacking))}, which a reward does not have; "
            f"bradley_terry, plackett_luce, regression and others that read one number a response do without"
        )
    for name in ("plain", "sync_ref_model", "reference_model", "sparse_autoencoder", "frozen_models"):
        if getattr(settings, name):
            raise OptionError(f"--{name.replace('_', '-')} is about log-probs of a policy; leave it out with --reward")


def _sparse_encoder(settings: AlignOptions, goal: Objective, needs: set[Need], device: Any) -> Any:
    if settings.sparse_autoencoder is None:
        return None
    if Need.FEATURES not in needs:
        raise OptionError(f"--sparse-autoencoder gives features, and {goal.name} uses none; leave it out, or use fpo")
    return sparse_encoder(settings.sparse_autoencoder).to(device)


def _wanted(settings: AlignOptions, goal: Objective, needs: set[Need]) -> Wanted:
    return Wanted(
        ratings=Need.RATINGS in needs,
        rationale=Need.RATIONALE in needs,
        ties="tie" in goal.uses,
        aspect=settings.aspect,
        scale=settings.rating_range,
        degrees=settings.degrees if Need.AUXILIARY in needs else None,
    )
