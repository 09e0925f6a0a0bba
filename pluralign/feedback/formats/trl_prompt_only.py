"""TRL prompt-only: prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pluralign.feedback.formats._chat import chat, unchat
from pluralign.feedback.formats._fields import Fields
from pluralign.feedback.formats._format import Format, Record, Sample
from pluralign.feedback.formats._trl import BESIDE, HOLDS, beside, columns_beside
from pluralign.feedback.formats._write import written
from pluralign.feedback.record import Judgement


def _parse(record: Record) -> Iterator[Judgement]:
    fields = Fields(record)
    prompt = chat(fields.given("prompt"), "prompt")
    yield fields.judgement(**beside(fields), prompt=prompt)


def _write(j: Judgement) -> dict[str, Any]:
    return written(j, {"prompt": unchat(j.prompt)} | columns_beside(j), holds=HOLDS - {"responses"})


def _detect(sample: Sample) -> tuple[int, str] | None:
    # Every format has a prompt: only a file that has nothing else to judge is one of prompts.
    found = sample.columns
    return (1, "column prompt and no responses") if "prompt" in found and found <= BESIDE | {"prompt"} else None


FORMAT = Format(
    name="trl_prompt_only",
    about="TRL prompts without responses: prompt (a text or messages)",
    detect=_detect,
    parse=_parse,
    write=_write,
)
