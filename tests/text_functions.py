"""Functions of a user's own that make vectors of texts, and count what they are given."""

import numpy as np

seen = {"texts": 0}
"""What they were given, in this process, beside the texts by which they are told apart."""

WORDS = ("good", "bad", "film", "very")


def letters(texts):
    """Count some words: numbers that say what a text is about."""
    assert isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    seen["texts"] += len(texts)
    return np.array([[text.lower().count(word) for word in WORDS] for text in texts])


def other(texts):
    """Count them otherwise: another vector of the same texts."""
    return letters(texts) * 2.0 + 1


def wide(texts):
    """Return more numbers than are kept by default."""
    return np.random.default_rng(0).normal(size=(8, 600))[[len(text) % 8 for text in texts]]


def flat(texts):
    """Return what is no array [N, D]."""
    return np.zeros(len(texts))


def not_finite(texts):
    """Fail for one text only, as normalising an empty one does."""
    return np.array([[np.nan if text == "" else 1.0, len(text)] for text in texts])


def broken(texts):
    """Fail with a reason."""
    raise ValueError("no vocabulary")
