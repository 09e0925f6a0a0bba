"""The errors people see: one sentence that says where, what, and what to do."""

from __future__ import annotations


class PluralignError(Exception):
    """Base of every error raised on purpose.

    The message is one sentence meant for the user; the command line prints it without a traceback.
    """


class FeedbackError(PluralignError):
    """A source of feedback cannot be read, or a conversion does not apply to it."""


class OptionError(PluralignError):
    """An option is unknown, out of bounds, or not used by what it was given to."""


class OutputError(PluralignError):
    """A result cannot be written where it was asked for."""


class MissingInput(PluralignError):
    """An objective was given a batch that lacks something it declared it needs."""


class BadRow(FeedbackError):
    """One row cannot become a judgement. Readers raise it; `read` counts it, or stops when strict.

    `reason` is a short slug that the read report counts by (`empty-response`, `unknown-label`); `problem` and
    `remedy` are the two halves of the sentence shown. File and row are added by the caller, who knows them.
    """

    def __init__(self, reason: str, *, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"field '{field}': {problem}; {remedy}")
        self.reason = reason
        self.field = field
        self.problem = problem
        self.remedy = remedy


def one_line(error: object) -> str:
    """What another library says, fit to stand inside a sentence.

    >>> one_line("Invalid" + chr(10) + "data. ")
    'Invalid data'
    """
    return " ".join(str(error).split())[:300].rstrip(". ")
