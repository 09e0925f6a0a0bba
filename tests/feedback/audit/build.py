"""Small tables for the audit's tests."""

import pyarrow as pa

from pluralign.feedback import Feedback
from pluralign.feedback.audit import Audit, audit
from pluralign.feedback.record import Judgement, Response, text, to_batch


def table(rows: list[Judgement]) -> pa.Table:
    return pa.Table.from_batches([to_batch(rows)])


def feedback(rows: list[Judgement]) -> Feedback:
    return Feedback(table(rows))


def audited(rows: list[Judgement], **options) -> Audit:
    return audit(table(rows), **options)


def pair(prompt: str, better: str, worse: str, **more) -> Judgement:
    responses = (Response(text(better)), Response(text(worse)))
    return Judgement(text(prompt) if prompt else (), responses, **{"ranks": (1, 2), **more})


def vote(question: int, first: bool, who: str | None = None, **more) -> Judgement:
    """A vote between two named texts of a question."""
    responses = (Response(text(f"answer one to {question}")), Response(text(f"another reply, {question}")))
    return Judgement(text(f"question {question}"), responses, ranks=(1, 2) if first else (2, 1), annotator=who, **more)


def match(a: str, b: str, ranks=(1, 2), **more) -> Judgement:
    """A result between two named items without texts."""
    return Judgement(responses=(Response(model=a), Response(model=b)), ranks=ranks, **more)
