"""`online.run`: sample, ask, turn into feedback, learn, keep, and again.

Everything that was paid for is on disk before it is used, so that a run that is killed goes on where it was: samples
and answers as they come, weights at every checkpoint and after every stage.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from pluralign.errors import OptionError
from pluralign.online import records
from pluralign.online.drawing import Drawing, SamplerOf
from pluralign.online.folder import OnlineRun
from pluralign.online.inputs import Given, Judges, Prompts, options_of
from pluralign.online.judges import Budget, Recorded, Rewarding
from pluralign.online.judges import Judge as Asked
from pluralign.online.learner import Judge, Learner
from pluralign.online.offline import Pairs
from pluralign.online.rounds import Rounds
from pluralign.online.samplers import PolicySampler
from pluralign.online.settings import OnlineOptions, resolve
from pluralign.online.snapshots import first_model
from pluralign.online.watching import Watching
from pluralign.policy.encode import Encoder
from pluralign.policy.reference import weights_fingerprint


def run(
    prompts: Any = None,
    model: str | Path | None = None,
    learner: str | Learner | None = None,
    *,
    judge: Given = None,
    output_dir: str | Path,
    independent: Asked | str | None = None,
    gold: Given = None,
    offline: Any = None,
    sampler: SamplerOf | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    resume: bool = False,
    **options: Any,
) -> OnlineRun:
    """Train a model on its own samples and what a judge says of them, in rounds, and leave everything in `output_dir`.

    prompts: texts, chats, `Feedback`, or anything `pluralign.read` takes, whose prompts are asked; those of `offline`
    when left out. model: a folder, a hub name or `lab:tiny`. learner: a name from `pluralign.online.catalogue()`, an
    objective of the catalogue, or a `Learner`. judge: an object with `name` and `prob`, or `module:name`; for learners
    that weigh several rewards a mapping of names to judges. independent, gold: judges that only watch; gold may map
    groups of people to judges. offline: pairs that were judged before, as prompts are given, for learners that learn
    from them too. sampler: in place of plain draws of the learner's law; see `SamplerOf`. config: a YAML file or
    mapping of options. resume: go on with what is in the folder, prompts included; nothing is drawn or asked twice.
    options: those of `OnlineOptions` and the learner's.

    Returns the `OnlineRun`. Raises `OptionError` and `FeedbackError` for what does not fit together, `BudgetSpent`
    when the judge may be asked no more (what is there stays, and a larger budget goes on from it).
    """
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise OptionError(
            f"{processes} processes were launched, and learning while asking runs in one; start it by itself, and "
            "learn on several with align on the feedback of a round"
        )
    folder = OnlineRun(Path(output_dir))
    named = {
        "learner": learner, "judge": judge, "independent": independent, "gold": gold, "prompts": prompts,
        "offline": offline,
    }  # fmt: skip
    given = options_of(folder, named, model, config, resume, options)
    settings, goal, its = resolve(given, learner if isinstance(learner, Learner) else None)
    if (folder.path / "config.json").exists() and not resume:
        raise OptionError(f"{folder.path} already holds a run; choose another folder, or continue it with --resume")
    judges = Judges.of(
        judge if judge is not None else settings.judge,
        independent if independent is not None else settings.independent,
        gold if gold is not None else settings.gold,
    )
    beside = offline if offline is not None else settings.offline
    _fit_together(goal, its, judges, beside)
    if resume and prompts is None:
        asked = Prompts.read(folder.path / "prompts.json")
    else:
        source = prompts if prompts is not None else settings.prompts
        asked = Prompts.of(source if source is not None else beside)
    rounds = _begun(folder, settings, goal, its, given, judges, asked, beside, sampler or PolicySampler, resume)
    for number in range(1, settings.rounds + 1):
        rounds.round(number)
    rounds.finish()
    return OnlineRun.open(folder.path)


def _fit_together(learner: Learner, options: Mapping[str, Any], judges: Judges, offline: Any) -> None:
    """Refuse what does not go together, before anything is drawn."""
    wants, name = learner.wants(**options), learner.name
    if wants and not judges.loop:
        raise OptionError(f"{name} learns from what a judge says; give one (judge=, --judge module:name)")
    if len(judges.loop) > 1 and Judge.COMPONENTS not in wants:
        raise OptionError(
            f"{name} asks one judge, and there are {len(judges.loop)}; make them one "
            "(pluralign.online.several_judges), or take a learner that weighs several"
        )
    if learner.weighing is not None:
        learner.weighing.start(len(judges.loop), **options)
    rewarding = all(isinstance(judge, Rewarding) for judge in judges.loop.values())
    if "greedy_reward" in learner.needs(**options) and not rewarding:
        raise OptionError(
            f"{name} compares with the reward of the most probable response, and the judge gives no rewards; "
            "take rloo, whose baseline is the other draws"
        )
    if "offline" in learner.needs(**options) and offline is None:
        raise OptionError(
            f"{name} learns from pairs that were judged before, beside its samples; give some "
            "(offline=, --offline FILE)"
        )
    if "offline" not in learner.needs(**options) and offline is not None:
        raise OptionError(
            f"{name} has no use for offline pairs; leave them out, or take hypo or vpo with side='offline'"
        )


def _begun(
    folder: OnlineRun,
    settings: OnlineOptions,
    learner: Learner,
    options: dict[str, Any],
    given: Mapping[str, Any],
    judges: Judges,
    asked: Prompts,
    offline: Any,
    sampler_of: SamplerOf,
    resume: bool,
) -> Rounds:
    """A run that has its folder, its model and its prompts, and has done no round."""
    console = Console(stderr=True)
    model, tokenizer = first_model(folder, settings, asked, console)
    encoder = Encoder(tokenizer)
    pairs = None
    if offline is not None:
        pairs = Pairs.of(offline, encoder, size=settings.offline_minibatch or 0, seed=settings.seed)
    order = np.random.default_rng(settings.seed).permutation(len(asked.prompts)).tolist()
    held = min(settings.monitor_prompts, max(len(order) - 1, 0))
    training = [asked.prompts[i] for i in sorted(order[held:])]
    watched = [asked.prompts[i] for i in sorted(order[:held])]
    if resume:
        _same_as_before(folder, settings, asked, pairs, model)
        records.go_on(folder, settings, given)
    budget = Budget(settings.budget)
    recorded = {
        name: Recorded(judge, path=folder.answers_path(name), budget=budget, attempts=settings.attempts)
        for name, judge in judges.loop.items()
    }
    names = ("reference", "previous", *(stage.keep for stage in learner.plan(**options).stages))
    snapshots = dict.fromkeys(names, model)
    drawing = Drawing(folder, settings, tokenizer, encoder, sampler_of, snapshots, asked.answers, console)
    if not resume:
        asked.write(folder.path / "prompts.json")
        records.begin(
            folder, settings, learner, options, given, judge=None if judges.proxy is None else judges.proxy.name,
            training=training, watching=watched, prompts=asked.fingerprint, offline=pairs,
            weights=weights_fingerprint(model),
        )  # fmt: skip
    watching = Watching(drawing, watched, judges)
    return Rounds(settings, learner, options, training, recorded, drawing, watching, snapshots, pairs)


def _same_as_before(
    folder: OnlineRun, settings: OnlineOptions, asked: Prompts, pairs: Pairs | None, model: Any
) -> None:
    if folder.data["fingerprint"] != asked.fingerprint:
        raise OptionError(f"{folder.path} cannot go on: the prompts are not those the run began with")
    if pairs is not None and folder.data["offline"]["fingerprint"] != pairs.fingerprint:
        raise OptionError(f"{folder.path} cannot go on: the offline pairs are not those the run began with")
    if folder.reference["fingerprint"] != weights_fingerprint(model):
        raise OptionError(f"{folder.path} cannot go on: the weights of {settings.model} are not those it began with")


__all__ = ["run"]
