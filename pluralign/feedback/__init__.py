"""What people said: one record type, readers and writers for public formats, audit, filters, conversions.

Never imports torch.
"""

from pluralign.feedback.record import SCHEMA, Judgement, Message, Response, plain, text

__all__ = ["SCHEMA", "Judgement", "Message", "Response", "plain", "text"]
