"""What people said: one record type, readers and writers for public formats, audit, filters, conversions.

Never imports torch.
"""

from pluralign.feedback.feedback import Feedback
from pluralign.feedback.read import read
from pluralign.feedback.record import SCHEMA, Judgement, Message, Response, plain, text
from pluralign.feedback.report import ReadReport

__all__ = ["SCHEMA", "Feedback", "Judgement", "Message", "ReadReport", "Response", "plain", "read", "text"]
