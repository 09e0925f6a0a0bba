"""`online.run`: sample, ask, turn into feedback, learn, keep, and again.

Everything that was paid for is on disk before it is used, so that a run that is killed goes on where it was: samples
and answers as they come, weights at every checkpoint and after every stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from pluralign.errors import OptionError
from pluralign.online import records
from pluralign.online.drawing import Drawing, SamplerOf
from pluralign.online.folder import OnlineRun
from pluralign.online.inputs import Judges, Prompts, Watched, options_of
from pluralign.online.judges import Budget, Recorded
from pluralign.online.judges import Judge as Asked
from pluralign.online.learner import Judge, Learner
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
    judge: Asked | str | None = None,
    output_dir: str | Path,
    independent: Watched = None,
    gold: Watched | Mapping[str, Asked] = None,
    sampler: SamplerOf | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    resume: bool = False,
    **options: Any,
) -> OnlineRun:
    """Train a model on its own samples and what a judge says of them, in rounds, and leave everything in `output_dir`.

    prompts: texts, chats, `Feedback`, or anything `pluralign.read` takes, whose prompts are asked. model: a folder, a
    hub name or `lab:tiny`. learner: a name from `pluralign.online.catalogue()`, an objective that learns from pairs, or
    a `Learner`. judge: an object with `name` and `prob`, or `module:name`. independent, gold: judges that only watch;
    gold may map groups of people to judges. sampler: in place of plain draws of the learner's law; see `SamplerOf`.
    config: a YAML file or mapping of options. resume: go on with what is in the folder; nothing is drawn or asked
    twice. options: those of `OnlineOptions` and the learner's.

    Returns the `OnlineRun`. Raises `OptionError` and `FeedbackError` for what does not fit together, `BudgetSpent`
    when the judge may be asked no more (what is there stays, and a larger budget goes on from it).
    """
    folder = OnlineRun(Path(output_dir))
    named = {"learner": learner, "judge": judge, "independent": independent, "gold": gold, "prompts": prompts}
    given = options_of(folder, named, model, config, resume, options)
    settings, goal, its = resolve(given, learner if isinstance(learner, Learner) else None)
    if (folder.path / "config.json").exists() and not resume:
        raise OptionError(f"{folder.path} already holds a run; choose another folder, or continue it with --resume")
    judges = Judges.of(
        judge if judge is not None else settings.judge,
        independent if independent is not None else settings.independent,
        gold if gold is not None else settings.gold,
    )
    if beside := sorted(goal.needs(**its) & {"offline", "components", "multipliers"}):
        raise OptionError(
            f"{goal.name} needs {' and '.join(beside)} beside its samples, which only a loop of one's own can give it"
        )
    if goal.wants(**its) is not Judge.NOTHING and judges.loop is None:
        raise OptionError(f"{goal.name} learns from what a judge says; give one")
    asked = Prompts.of(prompts if prompts is not None else settings.prompts)
    loop = _begun(folder, settings, goal, its, given, judges, asked, sampler or PolicySampler, resume)
    for number in range(1, settings.rounds + 1):
        loop.round(number)
    loop.finish()
    return OnlineRun.open(folder.path)


def _begun(
    folder: OnlineRun,
    settings: OnlineOptions,
    learner: Learner,
    options: dict[str, Any],
    given: Mapping[str, Any],
    judges: Judges,
    asked: Prompts,
    sampler_of: SamplerOf,
    resume: bool,
) -> Rounds:
    """A run that has its folder, its model and its prompts, and has done no round."""
    console = Console(stderr=True)
    model, tokenizer = first_model(folder, settings, asked, console)
    walk = np.random.default_rng(settings.seed).permutation(len(asked.prompts)).tolist()
    held = min(settings.monitor_prompts, max(len(walk) - 1, 0))
    training = [asked.prompts[i] for i in sorted(walk[held:])]
    watched = [asked.prompts[i] for i in sorted(walk[:held])]
    if resume and folder.data["fingerprint"] != asked.fingerprint:
        raise OptionError(f"{folder.path} cannot go on: the prompts are not those the run began with")
    if resume and folder.reference["fingerprint"] != weights_fingerprint(model):
        raise OptionError(f"{folder.path} cannot go on: the weights of {settings.model} are not those it began with")
    judge = None
    if judges.loop is not None:
        path, budget = folder.path / "answers.jsonl", Budget(settings.budget)
        judge = Recorded(judges.loop, path=path, budget=budget, attempts=settings.attempts)
    names = ("reference", "previous", *(stage.keep for stage in learner.plan(**options).stages))
    snapshots = dict.fromkeys(names, model)
    drawing = Drawing(folder, settings, tokenizer, Encoder(tokenizer), sampler_of, snapshots, asked.answers, console)
    if not resume:
        records.begin(
            folder, settings, learner, options, given, judge=None if judge is None else judge.name,
            training=training, watching=watched, prompts=asked.fingerprint, weights=weights_fingerprint(model),
        )  # fmt: skip
    watching = Watching(drawing, watched, judges)
    return Rounds(settings, learner, options, training, judge, drawing, watching, snapshots)


__all__ = ["run"]
