"""The error tree is whole, drawn truthfully, and its messages help."""

from __future__ import annotations

from pairscore import errors
from pairscore.errors import LimitError, MissingExtraError, PairscoreError


def _tree(root: type) -> list[type]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


def test_every_error_is_public_and_in_the_drawing() -> None:
    """A new error must be exported and drawn."""
    names = {
        error.__name__ for error in _tree(PairscoreError) if error.__module__ == errors.__name__
    }

    assert names == set(errors.__all__)
    for name in names:
        assert name in (errors.__doc__ or "")


def test_limit_error_gives_value_limit_and_option() -> None:
    """Who meets a limit learns what was received, what is allowed, and what raises it."""
    message = str(
        LimitError(limit="pairs a request", value=1200, maximum=1000, option="--max-pairs")
    )

    assert "1,200" in message
    assert "1,000" in message
    assert "--max-pairs" in message


def test_missing_extra_gives_the_command() -> None:
    """The remedy for a missing dependency is the command that installs it."""
    assert "pip install 'pairscore[parquet]'" in str(
        MissingExtraError(feature="Parquet files", extra="parquet")
    )
