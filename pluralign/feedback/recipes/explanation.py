"""A judgement's explanation as a text of its own, with the prompt it answers."""

from __future__ import annotations

from pluralign.feedback.record import Judgement, Message, plain


def rationale(j: Judgement, first: int) -> tuple[tuple[Message, ...], tuple[Message, ...]] | None:
    """What to ask and what to answer so that the model learns why response `first` is better; None without a reason.

    The prompt shows the question and both answers and says which is better. A chat where the row has one.
    Source: Just et al. 2024, Data-Centric Human Preference with Rationales (arXiv 2407.14477).

    >>> from pluralign.feedback import Response, text
    >>> pair = Judgement(text("2+2?"), (Response(text("5")), Response(text("4"))), ranks=(2, 1), rationale="5 is odd.")
    >>> asked, answer = rationale(pair, first=1)
    >>> answer[0].content, asked[0].content.splitlines()[2:4]
    ('5 is odd.', ['Better answer:', '4'])
    """
    if not j.rationale:
        return None
    shown = [plain(j.prompt), *(plain(j.responses[i].messages) for i in (first, 1 - first))]
    question = f"{shown[0]}\n\nBetter answer:\n{shown[1]}\n\nOther answer:\n{shown[2]}\n\nWhy is it better?\n"
    chat = any(m.role for m in (*j.prompt, *(m for r in j.responses for m in r.messages)))
    asked, answer = ("user", "assistant") if chat else (None, None)
    return (Message(question, asked),), (Message(j.rationale, answer),)
