"""`align`: feedback and a language model in, an aligned model in a run directory out."""

from __future__ import annotations

import copy
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from rich.console import Console
from transformers import PrinterCallback, TrainerCallback, TrainingArguments, set_seed

from pluralign.errors import FeedbackError, OptionError
from pluralign.feedback import SCHEMA, Feedback, read
from pluralign.objectives import Need, Objective
from pluralign.policy.ability import plain_only, ways
from pluralign.policy.encode import Encoded, Encoder, joint
from pluralign.policy.load import load, save
from pluralign.policy.reference import ReferenceCache, weights_fingerprint
from pluralign.policy.rewards import load_reward, with_head
from pluralign.policy.sparse_features import sparse_encoder
from pluralign.policy.statistics import Reference
from pluralign.progress import bar
from pluralign.train import heads, moving
from pluralign.train.arguments import training_arguments
from pluralign.train.batches import Examples
from pluralign.train.data import Prepared, Wanted, check_columns, kind_for, mismatched, prepare
from pluralign.train.moving import MovingReference
from pluralign.train.options import AlignOptions, read_config, resolve
from pluralign.train.resume import check_same, newest_checkpoint
from pluralign.train.run import Run, versions
from pluralign.train.savings import positions, sentence
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
    given = _given(run, data, model, objective, eval_data, config, resume, options)
    settings, goal, goal_options, training = resolve(given)
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
    console = Console(stderr=True, quiet=not _is_main())
    train, held_out, provenance = _feedback(data if data is not None else settings.data, eval_data, settings, console)
    for part in (train, held_out):
        if part is not None:
            check_columns(part, goal)
            kind_for(part, goal)
    arguments = training_arguments(run.path, settings, goal, training, evaluates=held_out is not None)
    if resume:
        check_same(run, given, provenance, arguments.world_size)
    encode = _sparse_encoder(settings, goal, needs := goal.needs(**goal_options), arguments.device)
    set_seed(settings.seed)
    policy, tokenizer = _model(run, settings, train, console, resume)
    if settings.plain:
        plain_only(policy)
    held_to = _reference(settings, policy)
    encoder = Encoder(tokenizer, max_length=settings.max_length, truncation=settings.truncation)
    wanted = Wanted(
        ratings=Need.RATINGS in needs,
        rationale=Need.RATIONALE in needs,
        ties="tie" in goal.uses,
        aspect=settings.aspect,
        scale=settings.rating_range,
        degrees=settings.degrees if Need.AUXILIARY in needs else None,
    )
    with bar("encoding", len(train), console) as step:
        prepared = prepare(train, goal, encoder, step, wanted)
    evaluated = prepare(held_out, goal, encoder, wanted=wanted) if held_out is not None else None
    _report(prepared, evaluated, provenance, console)
    cache = ReferenceCache(settings.reference_cache or run.path / "reference-cache")
    examples = _examples(prepared, held_to, goal, goal_options, settings, cache, arguments, console)
    held_examples = evaluated and _examples(evaluated, held_to, goal, goal_options, settings, cache, arguments, console)
    if _is_main():
        _record_reference(run, settings, held_to, resume)
        _record(run, given, goal, goal_options, arguments, provenance, prepared, evaluated, held_out)
    live = bool(needs & LIVE) or settings.sync_ref_model
    apart = settings.reference_model is not None
    frozen = copy.deepcopy(held_to).requires_grad_(False) if live and (settings.lora is None or apart) else None
    policy = _with_adapters(policy, settings)
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
        _print_ways(trainer, examples, cache, console)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_RunLog(run, console))
    stopper = _StopAfterStep()
    trainer.add_callback(stopper)
    checkpoint = newest_checkpoint(run.path) if resume else None
    if settings.sync_ref_model and frozen is not None:
        follow = MovingReference(frozen, settings.ref_model_sync_steps, settings.ref_model_mixup_alpha)
        if checkpoint:
            follow.load(checkpoint)
        trainer.add_callback(follow)
    run_step = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    if _is_main():
        run.forget_after(run_step)
    with stopper.listening():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stopper.asked:
        raise KeyboardInterrupt(f"stopped after step {trainer.state.global_step}; continue with --resume")
    # Not from metrics.jsonl, which only one process writes: all must decide alike.
    if held_examples is not None and not any(
        "eval_loss" in m and m["step"] == trainer.state.global_step for m in trainer.state.log_history
    ):
        trainer.evaluate()
    if _is_main():
        _save_model(run, trainer, tokenizer)
        following = "" if settings.reward else f"\nnext: pluralign evaluate {run.path}"
        console.print(f"\ndone: {run.path}{following}")
    trainer.accelerator.wait_for_everyone()
    return Run.open(run.path)


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


def _given(
    run: Run,
    data: Any,
    model: str | None,
    objective: str | None,
    eval_data: Any,
    config: str | Path | Mapping[str, Any] | None,
    resume: bool,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """All options in one mapping: those of the run to resume, then the config's, then the ones given by name."""
    given: dict[str, Any] = {}
    if resume:
        given |= Run.open(run.path).config["options"]
    if config is not None:
        given |= dict(config) if isinstance(config, Mapping) else read_config(config)
    named = {"model": model, "objective": objective, "data": _name_of(data), "eval_data": _name_of(eval_data)}
    given |= {name: value for name, value in named.items() if value is not None} | dict(options)
    if "model" not in given:
        raise OptionError("no model given; name a folder, a hub model, or lab:tiny")
    return given


def _name_of(source: Any) -> Any:
    """How a source is written in the run's config; one that lives in memory has no name."""
    return str(source) if isinstance(source, (str, Path)) else source if isinstance(source, (int, float)) else None


def _feedback(
    data: Any, eval_data: Any, settings: AlignOptions, console: Console
) -> tuple[Feedback, Feedback | None, dict[str, Any]]:
    if data is None:
        raise OptionError("no feedback given; name a file, folder or hub data set")
    whole = read(data, settings.format, settings.columns)
    if whole.report is not None:
        console.print(str(whole.report), markup=False, highlight=False)
    if not len(whole):
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in whole.report.dropped.items()) if whole.report else ""
        raise FeedbackError(f"no row of the feedback can be used{f' ({reasons})' if reasons else ''}; nothing to learn")
    whole = _without(whole, settings.ignore)
    provenance = {"report": whole.report and whole.report.as_dict(), "fingerprint": whole.fingerprint}
    share = settings.eval_data if eval_data is None or isinstance(eval_data, (str, Path, int, float)) else eval_data
    if isinstance(share, (int, float)):
        provenance["split_by"] = settings.split_by
        if share == 0:
            return whole, None, provenance
        try:
            train, held_out = whole.split(float(share), by=settings.split_by, seed=settings.seed)
        except FeedbackError as error:
            raise FeedbackError(f"no rows can be held out: {error}; --eval-data 0 holds out none") from None
        return train, held_out, provenance
    held_out = _without(read(share, settings.format, settings.columns), settings.ignore)
    provenance |= {"eval_fingerprint": held_out.fingerprint, "split_by": "given"}
    return whole, held_out, provenance


def _without(feedback: Feedback, names: list[str]) -> Feedback:
    for name in names:
        if name not in SCHEMA.names:
            raise OptionError(f"--ignore {name}: the record has no such column; it has {', '.join(SCHEMA.names)}")
    return feedback.without(*names) if names else feedback


def _model(run: Run, settings: AlignOptions, train: Feedback, console: Console, resume: bool) -> tuple[Any, Any]:
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
    if _is_main():
        # Made once: what is resumed, evaluated and compared with is this very model.
        save(saved, model, tokenizer)
    return model, tokenizer


def _reference(settings: AlignOptions, policy: Any) -> Any:
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


def _with_adapters(model: Any, settings: AlignOptions) -> Any:
    if settings.lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    alpha = settings.lora_alpha or 2 * settings.lora
    task = "SEQ_CLS" if settings.reward else "CAUSAL_LM"
    adapters = LoraConfig(r=settings.lora, lora_alpha=alpha, target_modules="all-linear", task_type=task)
    return get_peft_model(model, adapters)


def _examples(
    prepared: Prepared,
    model: Any,
    goal: Objective,
    goal_options: Mapping[str, Any],
    settings: AlignOptions,
    cache: ReferenceCache,
    arguments: TrainingArguments,
    console: Console,
) -> Examples:
    """Rows with their reference log-probs: every objective reports displacement and KL, if it needs them or not."""
    model.to(arguments.device)
    examples = Examples(prepared.rows)
    if settings.reward:
        return examples
    encoded = [row.encoded for row in prepared.rows]
    size = arguments.per_device_eval_batch_size
    # One process computes; the others then find the result on disk.
    with arguments.main_process_first(desc="reference log-probs"):
        with bar("reference log-probs", len(encoded), console) as step:
            examples.ref_logp = cache.get(model, encoded, batch_size=size, progress=step)
        if Need.MISMATCHED in goal.needs(**goal_options):
            examples.mismatched = mismatched(prepared.rows, settings.max_length, settings.seed)
            with bar("reference log-probs, mismatched", len(encoded), console) as step:
                examples.ref_mismatched = cache.get(model, examples.mismatched, batch_size=size, progress=step)
        if Need.JOINT in goal.needs(**goal_options):
            with bar("reference log-probs, prompts too", len(encoded), console) as step:
                examples.ref_joint_logp = cache.get(model, list(map(joint, encoded)), batch_size=size, progress=step)
        if Need.FROZEN in goal.needs(**goal_options):
            examples.frozen_logp = _frozen(encoded, goal, settings, cache, arguments, console)
    return examples


def _frozen(
    encoded: list[Encoded],
    goal: Objective,
    settings: AlignOptions,
    cache: ReferenceCache,
    arguments: TrainingArguments,
    console: Console,
) -> Any:
    """Log-probs under each of the further frozen models, [N, K, M]."""
    if not settings.frozen_models:
        raise OptionError(f"{goal.name} compares with further models; name them with --frozen-models '[path, path]'")
    columns = []
    for name in settings.frozen_models:
        other, _ = load(name, dtype=settings.dtype)
        if settings.plain:
            plain_only(other)
        with bar(f"log-probs under {name}", len(encoded), console) as step:
            size = arguments.per_device_eval_batch_size
            columns.append(cache.get(other.to(arguments.device), encoded, batch_size=size, progress=step))
    return np.stack(columns, axis=-1)


def _print_ways(trainer: PolicyTrainer, examples: Examples, cache: ReferenceCache, console: Console) -> None:
    """Say once how log-probs are computed, what that leaves out, and where those of the reference came from."""
    packs, tiles = ways(trainer.model)
    batches = [rows for batch in trainer.batches() if (rows := [examples.rows[i].encoded for i in batch if i >= 0])]
    if (most := trainer.max_tokens) is not None:
        alone = sum(row.length > most for rows in batches for row in rows)
        console.print(
            f"batches: {len(batches):,} of at most {most:,} tokens{f', {alone:,} of a longer row alone' * bool(alone)}",
            highlight=False,
        )
    console.print(sentence(positions(batches), packs=packs, tiles=tiles), highlight=False)
    console.print(f"reference log-probs: {cache.hits:,} from the cache, {cache.misses:,} computed", highlight=False)


def _report(prepared: Prepared, evaluated: Prepared | None, provenance: dict[str, Any], console: Console) -> None:
    for name, part in (("train", prepared), ("held out", evaluated)):
        if part is None:
            continue
        lines = [f"{name}: {len(part.rows):,} rows used"]
        lines += [f"dropped {n:,}: {reason}, e.g. {part.examples[reason]}" for reason, n in part.dropped.most_common()]
        lines += [f"{reason}: {n:,}" for reason, n in part.cut.most_common()]
        console.print("; ".join(lines), markup=False, highlight=False)


def _record(
    run: Run,
    given: Mapping[str, Any],
    goal: Objective,
    goal_options: Mapping[str, Any],
    arguments: TrainingArguments,
    provenance: Mapping[str, Any],
    prepared: Prepared,
    evaluated: Prepared | None,
    held_out: Feedback | None,
) -> None:
    parts = {"train": prepared.as_dict(), "eval": evaluated.as_dict() if evaluated else None}
    run.write("data.json", {**provenance, **parts})
    if held_out is not None:
        held_out.write(run.path / "heldout.parquet")
    # Last, for it makes the folder a run that can go on.
    run.write(
        "config.json",
        {
            "options": dict(given),
            "objective": goal.name,
            "objective_options": dict(goal_options),
            "equation": goal.equation,
            "training": arguments.to_dict(),
            "versions": versions(),
            "processes": arguments.world_size,
            "command": sys.argv,
        },
    )


def _record_reference(run: Run, settings: AlignOptions, model: Any, resume: bool) -> None:
    apart = settings.reference_model
    made = apart is None and settings.model.startswith("lab:")
    fingerprint = weights_fingerprint(model)
    if resume and run.reference["fingerprint"] != fingerprint:
        raise OptionError(
            f"{run.path} cannot go on: the weights of {apart or settings.model} are not those the run began with; "
            "put those back, or begin a new run"
        )
    values = {
        "name": apart or settings.model,
        "path": "reference" if made else None,
        "fingerprint": fingerprint,
    }
    run.write("reference.json", values)


def _save_model(run: Run, trainer: PolicyTrainer, tokenizer: Any) -> None:
    """The result, adapters merged into it; the adapters alone beside it."""
    policy = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(policy, "merge_and_unload"):
        policy.save_pretrained(run.path / "adapter")
        policy = policy.merge_and_unload()
    if trainer.head is not None:
        heads.save(trainer.head, run.path)
    save(run.path / "model", policy, tokenizer)


def _is_main() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


class _RunLog(TrainerCallback):
    """Writes metrics.jsonl and prints a short line of each."""

    def __init__(self, run: Run, console: Console) -> None:
        self.run, self.console = run, console

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        split = "eval" if any(name.startswith("eval_") for name in logs) else "train"
        values = {name.removeprefix("eval_"): value for name, value in logs.items()}
        self.run.log({"step": state.global_step, "split": split, **values})
        shown = [
            f"{name} {values[name]:.4f}" for name in ("loss", "rewards/accuracies", "rewards/margins") if name in values
        ]
        self.console.print(f"step {state.global_step}/{state.max_steps} {split:5} {'  '.join(shown)}", highlight=False)


class _StopAfterStep(TrainerCallback):
    """Turns Ctrl-C into a checkpoint at the end of the step; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        def ask(number: int, frame: FrameType | None) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        try:
            before = signal.signal(signal.SIGINT, ask)
        except ValueError:  # not the main thread: signals are somebody else's
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if self.asked:
            control.should_save = True
            control.should_training_stop = True
        return control
