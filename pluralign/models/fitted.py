"""What every fitted model can do: foretell answers, read feedback, and be kept in a folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import OptionError
from pluralign.likelihoods import sigmoid
from pluralign.models.answers import Answers
from pluralign.models.features import Features
from pluralign.objectives import Objective

Array = NDArray[np.float64]


class Fitted(ABC):
    """A model of pairs that was fitted.

    All its attributes are kept by `save`: numbers, words, arrays, lists and dicts of these, models, the modules and
    losses of `pluralign.models`, and `Features`. features: what reads feedback; None for a model that was given
    vectors.
    """

    features: Features | None = None

    learnt: ClassVar[str] = "loss_"
    """An attribute that there is once it is fitted."""

    @abstractmethod
    def margins(self, answers: Any) -> Array:
        """[n]: by how much left is preferred, in log odds where the loss makes it so."""

    def read(self, data: Any) -> Answers:
        """Comparisons in any feedback, as this model's features say them."""
        if isinstance(data, Answers):
            return data
        if self.features is None:
            raise OptionError("this model was fitted to vectors; give Answers, or set model.features to what made them")
        return self.features.answers(data)

    def predict_proba(self, answers: Any, *, outcomes: bool = False) -> Array:
        """[n]: the chance that left is preferred; with `outcomes` [n, 3] of left, a tie, and right.

        The chance of a tie is zero unless the model knows ties.
        """
        three = self._outcomes(self.margins(answers))
        return three if outcomes else three[:, 0]

    def _outcomes(self, margins: Array) -> Array:
        """[..., 3] of left, a tie, and right at log odds [...]."""
        return np.stack([sigmoid(margins), np.zeros_like(margins), sigmoid(-margins)], axis=-1)

    def accuracy(self, answers: Any) -> float:
        """Share of answers whose preferred side has the higher reward; equal ones count one half, ties are left out."""
        answers = self.read(answers)
        return right_share(self.margins(answers), answers)

    def save(self, folder: str | Path) -> Path:
        """Write to a folder that `load` reads. Raises `OptionError` if it is not fitted, or has parts of your own."""
        from pluralign.models import saving

        return saving.save(self, folder)

    @classmethod
    def load(cls, folder: str | Path, encoder: Any = None, loss: Objective | None = None) -> Self:
        """A saved model. encoder: the function that was given to `fit`, where it was one; loss: one of your own.

        Raises `FeedbackError` where the folder holds none, or a damaged one, and `OptionError` for a model of another
        kind or of a version of Pluralign to come.
        """
        from pluralign.models import saving

        found = saving.load(folder, encoder, loss)
        if not isinstance(found, cls):
            kind = type(found).__name__
            raise OptionError(f"{folder}: holds a {kind}, no {cls.__name__}; use {kind}.load, or load of any kind")
        return found


def right_share(margins: Array, answers: Answers) -> float:
    """Weighted share of answers that margins [n] order as was said; zeros count one half, ties are left out.

    >>> right_share(np.array([1.0, 1.0, 0.0, 2.0]), Answers.of([[0.0]] * 4, [[1.0]] * 4, [1, 0, 1, 0.5]))
    0.5
    """
    said = answers.probability.double().numpy()
    told = said != 0.5
    sign = np.sign(margins) * np.sign(said - 0.5)
    return float(np.average((sign[told] + 1) / 2, weights=answers.weight.numpy()[told]))
