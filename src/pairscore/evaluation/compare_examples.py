"""A few pairs that show what a cross-encoder sees and a bi-encoder does not, for a comparison without data.

They are those of the usual introduction to cross-encoders: questions with answers, tasks with instructions, sentences
that say the same in other words, and beside them pairs that share a topic or a form and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["EXAMPLES", "Example"]


@dataclass(frozen=True, slots=True)
class Example:
    """A pair, and whether its texts belong together."""

    first: str
    second: str
    related: bool


EXAMPLES: Final = (
    Example("The cat sat on the mat", "A feline rested on a rug", related=True),
    Example("Python is great for ML", "Java is used in enterprise software", related=False),
    Example("How to fix a flat tire", "Steps to repair a punctured bicycle tire", related=True),
    Example(
        "How do I reset my password?",
        "Click 'Forgot Password' on the login page to reset your credentials.",
        related=True,
    ),
    Example(
        "How do I reset my password?",
        "Our restaurant serves Italian and Japanese cuisine.",
        related=False,
    ),
    Example(
        "What is the return policy?",
        "You can return any item within 30 days for a full refund.",
        related=True,
    ),
    Example(
        "How to train a neural network", "Guide to training deep learning models", related=True
    ),
    Example("machine learning basics", "intro to ML algorithms", related=True),
    Example("machine learning basics", "best pizza in New York", related=False),
)
