"""What a run is given: judges found by name, options from all places, prompts with the answers people gave."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pluralign.errors import OptionError
from pluralign.feedback import Feedback, read
from pluralign.feedback.record import Message
from pluralign.feedback.storage import whole_file
from pluralign.online.asking import as_prompt
from pluralign.online.drawn import Prompt, hashed, prompt_key
from pluralign.online.folder import OnlineRun
from pluralign.online.judges import Judge
from pluralign.online.learner import Learner
from pluralign.online.settings import MAY_CHANGE
from pluralign.online.several_judges import Panel
from pluralign.train.options import read_config

Given: TypeAlias = Judge | Mapping[str, Judge] | str | None


@dataclass(frozen=True)
class Judges:
    """Who judges a run.

    loop: the judges in the loop by name; one alone is under the name of its kind, "reward". independent, gold: they
    only watch. groups: judges of single groups of people, which only watch too.
    """

    loop: dict[str, Judge]
    independent: Judge | None
    gold: Judge | None
    groups: dict[str, Judge]

    @classmethod
    def of(cls, loop: Given, independent: Given, gold: Given) -> Judges:
        """Each may be a judge, or module:name of one or of what makes one; loop and gold also mappings of judges.

        The judges of a mapping in the loop are watched as groups, where gold names no others.
        """
        asked, truth = _found(loop, "--judge"), _found(gold, "--gold")
        several = dict(asked) if isinstance(asked, Mapping) else {}
        for name in several:
            if not re.fullmatch(r"[\w][\w .-]*", name):
                raise OptionError(f"a judge's answers are kept in a file of its name; give '{name}' a plain one")
        groups = dict(truth) if isinstance(truth, Mapping) else several
        single = {} if asked is None else {"reward": asked}
        outside = _found(independent, "--independent")
        return cls(several or single, outside, None if isinstance(truth, Mapping) else truth, groups)

    @property
    def proxy(self) -> Judge | None:
        """The judges in the loop as one."""
        return Panel(self.loop) if len(self.loop) > 1 else next(iter(self.loop.values()), None)


def _found(judge: Any, option: str) -> Any:
    """A judge or a mapping of judges, given as such or as module:name of one or of a function that makes it."""
    found = judge
    if isinstance(judge, str):
        from pluralign.evaluate.scorers import load_object

        found = load_object(judge, option)
        if not hasattr(found, "prob") and callable(found):
            found = found()
    for each in found.values() if isinstance(found, Mapping) else [found]:
        if each is not None and not isinstance(each, Judge):
            given = f"{option} {judge}" if isinstance(judge, str) else f"{option[2:]}={each!r:.60}"
            raise OptionError(
                f"{given} is no judge, which has a name and prob; make one of a function (prompt, response) -> number "
                "with pluralign.online.judges.Scored"
            )
    return found


def options_of(
    folder: OnlineRun,
    named: Mapping[str, Any],
    model: str | Path | None,
    config: str | Path | Mapping[str, Any] | None,
    resume: bool,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """All options in one mapping: those of the run to go on with, then the config's, then the ones given by name.

    Raises `OptionError` where a run that goes on would not be the one that began.
    """
    before = OnlineRun.open(folder.path).config["options"] if resume else {}
    given: dict[str, Any] = dict(before)
    if config is not None:
        given |= dict(config) if isinstance(config, Mapping) else read_config(config)
    given |= {name: str(value) for name, value in named.items() if isinstance(value, (str, Path))}
    if isinstance(learner := named["learner"], Learner):
        given["learner"] = learner.name
    given |= dict(options) | ({} if model is None else {"model": str(model)})
    if "model" not in given:
        raise OptionError("no model given; name a folder, a hub model, or lab:tiny")
    for name in sorted({*before, *given} - MAY_CHANGE if resume else ()):
        if before.get(name) != given.get(name):
            raise OptionError(
                f"{folder.path} cannot go on: {name} was {before.get(name)} and is now {given.get(name)}; "
                "leave it as it was, or begin a new run"
            )
    return given


@dataclass(frozen=True)
class Prompts:
    """What is asked, with the answers that people gave to it where there are some. A run keeps its own copy."""

    prompts: list[Prompt]
    answers: dict[str, tuple[Message, ...]]
    fingerprint: str

    @classmethod
    def of(cls, source: Any) -> Prompts:
        """Of texts, chats, `Feedback` or anything `pluralign.read` takes; each prompt once, in the order of the source.

        Raises `OptionError` where there is none.
        """
        if source is None:
            raise OptionError("no prompts given; name a file whose prompts are to be asked, or give a list of texts")
        if isinstance(source, (list, tuple)) and source and isinstance(source[0], (str, tuple)):
            found = [as_prompt(one) for one in source]
            return cls(found, {}, f"{hashed(*map(prompt_key, found)):016x}")
        feedback = source if isinstance(source, Feedback) else read(source)
        asked: dict[str, Prompt] = {}
        answers: dict[str, tuple[Message, ...]] = {}
        for row in feedback:
            key = prompt_key(row.prompt)
            asked.setdefault(key, row.prompt)
            first = min(
                range(len(row.responses)), key=lambda i: (row.ranks or (1,) * len(row.responses))[i] or 99, default=None
            )
            if first is not None and row.responses[first].messages:
                answers.setdefault(key, row.responses[first].messages)
        if not asked:
            raise OptionError("the source has no prompts to ask")
        return cls(list(asked.values()), answers, feedback.fingerprint)

    def write(self, path: Path) -> None:
        """Keep them in a file."""
        told: dict[str, Any] = {"prompts": [_plain(prompt) for prompt in self.prompts], "fingerprint": self.fingerprint}
        told["answers"] = {key: _plain(answer) for key, answer in self.answers.items()}
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(told, ensure_ascii=False))

    @classmethod
    def read(cls, path: Path) -> Prompts:
        """What `write` kept."""
        told = json.loads(path.read_text())
        answers = {key: _messages(answer) for key, answer in told["answers"].items()}
        return cls([_messages(prompt) for prompt in told["prompts"]], answers, told["fingerprint"])


def _plain(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    return [{name: value for name, value in asdict(m).items() if value is not None} for m in messages]


def _messages(told: list[dict[str, Any]]) -> tuple[Message, ...]:
    return tuple(Message(**{"content": None, **message}) for message in told)
