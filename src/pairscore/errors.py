"""Every error that pairscore raises on purpose; this leaf imports nothing.

The tree::

    PairscoreError
    ├── InputError                    what was asked for cannot be scored as it is
    │   ├── PairError                 a pair that is not a pair of texts
    │   ├── TextError                 one text that cannot be scored
    │   ├── EmptyInputError           no pair, no document
    │   ├── LimitError                more than a declared limit allows
    │   ├── TooLongError              a pair that the model cannot read whole, and that must not be cut
    │   ├── FilterError               a filter on documents that cannot be applied
    │   └── DataFileError             a file of pairs or documents whose content is broken
    │       ├── InputFileError        it is missing, or may not be read
    │       └── OutputFileError       it cannot be written, or exists already
    ├── ModelError                    a model that cannot be used
    │   ├── ModelNotFoundError        no such name, folder or hub id
    │   ├── ModelOfflineError         it would have to be fetched, and the network is closed
    │   ├── ModelCorruptError         its files are not what they should be
    │   ├── ModelUnsupportedError     it is a model, but not one that scores pairs here
    │   ├── ModelCheckError           it loads, and would score wrongly
    │   └── ParityError               a converted model is too far from what it was made of
    ├── SearchIndexError              a search index that cannot be used
    │   ├── IndexNotFoundError        there is none
    │   ├── IndexMismatchError        it was built with another model
    │   ├── IndexCorruptError         its files are not what they should be
    │   └── IndexBusyError            somebody else writes to it
    ├── BackendError                  the model ran and failed
    │   ├── NonFiniteScoreError       it put out NaN or infinity
    │   ├── OutOfMemoryError          there was no room even for one pair
    │   └── WorkerError               the thread that ran it died or hung, and was replaced
    ├── TrainingError                 training cannot go on: a loss or a weight is no number any more
    ├── OverloadError                 more waits already than the queue may hold
    ├── DeadlineError                 it could not be scored in the time that was given
    ├── MissingExtraError             an optional dependency is not installed
    ├── SettingError                  an option has a value that makes no sense
    │   └── ScaleError                a score of one scale was to be compared with one of another
    └── ClosedError                   used after it was closed

A message gives the value, the limit and the remedy.
Which HTTP status and which exit code each one gets stands in two tables,
`pairscore.service.problems.STATUS` and `pairscore.cli.exits.EXIT_CODES`; tests hold both complete.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "ClosedError",
    "DataFileError",
    "DeadlineError",
    "EmptyInputError",
    "FilterError",
    "IndexBusyError",
    "IndexCorruptError",
    "IndexMismatchError",
    "IndexNotFoundError",
    "InputError",
    "InputFileError",
    "LimitError",
    "MissingExtraError",
    "ModelCheckError",
    "ModelCorruptError",
    "ModelError",
    "ModelNotFoundError",
    "ModelOfflineError",
    "ModelUnsupportedError",
    "NonFiniteScoreError",
    "OutOfMemoryError",
    "OutputFileError",
    "OverloadError",
    "PairError",
    "PairscoreError",
    "ParityError",
    "ScaleError",
    "SearchIndexError",
    "SettingError",
    "TextError",
    "TooLongError",
    "TrainingError",
    "WorkerError",
]


class PairscoreError(Exception):
    """Base of everything that pairscore raises on purpose."""


class InputError(PairscoreError, ValueError):
    """What was asked for cannot be scored as it is."""


class PairError(InputError):
    """Something stood where a pair of texts should stand."""


class TextError(InputError):
    """One text cannot be scored."""


class EmptyInputError(InputError):
    """There was nothing to score."""


class LimitError(InputError):
    """A declared limit was passed.

    Attributes:
        limit: what is limited, in words ("pairs a request").
        value: what was received.
        maximum: what is allowed.
        option: the name of the option that raises the limit.
    """

    def __init__(self, *, limit: str, value: int, maximum: int, option: str) -> None:
        super().__init__(
            f"too many {limit}: received {value:,}, the limit is {maximum:,}; "
            f"send less at once, or raise it with {option}"
        )
        self.limit = limit
        self.value = value
        self.maximum = maximum
        self.option = option


class TooLongError(InputError):
    """A pair is too long for the model, and its texts must not be cut.

    Attributes:
        position: the pair's place in what was asked for.
        num_tokens: what it has, special tokens included.
        max_tokens: what the model, or the caller's own limit, allows.
    """

    def __init__(self, *, position: int, num_tokens: int, max_tokens: int) -> None:
        super().__init__(
            f"pair {position} is too long: it has {num_tokens:,} tokens, the limit is {max_tokens:,}; "
            "send shorter texts, or allow them to be cut"
        )
        self.position = position
        self.num_tokens = num_tokens
        self.max_tokens = max_tokens


class FilterError(InputError):
    """A filter on documents names a column that is not there, or compares it with what it cannot be."""


class DataFileError(InputError):
    """The content of a file of pairs or documents is broken."""


class InputFileError(DataFileError):
    """A file that should be read is missing, or may not be read."""


class OutputFileError(DataFileError):
    """A file that should be written cannot be, or exists already."""


class ModelError(PairscoreError):
    """A model cannot be used."""


class ModelNotFoundError(ModelError, LookupError):
    """No model is known by that name, folder or hub id."""


class ModelOfflineError(ModelError):
    """The model would have to be fetched, and the network is closed or not there."""


class ModelCorruptError(ModelError):
    """The model's files are not what they should be."""


class ModelUnsupportedError(ModelError):
    """It is a model, but not one that scores pairs here."""


class ModelCheckError(ModelError):
    """The model loads and would run, but its scores would be wrong, or mean nothing.

    Attributes:
        check: the name of the check that it failed, which is also how it is switched off.
    """

    def __init__(self, message: str, *, check: str) -> None:
        super().__init__(
            f"{message}. To use it all the same, skip the check {check!r}: "
            f'skip_checks=["{check}"], or --skip-check {check}'
        )
        self.check = check


class ParityError(ModelError):
    """A converted model is further from the one that it was made of than a threshold allows."""


class SearchIndexError(PairscoreError):
    """A search index cannot be used."""


class IndexNotFoundError(SearchIndexError, LookupError):
    """There is no search index at that place."""


class IndexMismatchError(SearchIndexError):
    """The index holds vectors of another model, or of another dimension."""


class IndexCorruptError(SearchIndexError):
    """The index's files are missing, broken, or of a version that is not known."""


class IndexBusyError(SearchIndexError):
    """Somebody else is writing to the index."""


class BackendError(PairscoreError, RuntimeError):
    """The model ran and failed."""


class NonFiniteScoreError(BackendError):
    """The model put out NaN or infinity; no caller ever sees such a number."""


class OutOfMemoryError(BackendError, MemoryError):
    """There was no memory even for a micro-batch of one pair."""


class WorkerError(BackendError):
    """The thread that ran the model died, or ran for too long; another one took its place."""


class TrainingError(PairscoreError, RuntimeError):
    """Training cannot go on: a loss or a weight is no number any more, or a checkpoint cannot be read."""


class OverloadError(PairscoreError):
    """More waits already than the queue may hold; nothing was started.

    Attributes:
        retry_after_s: seconds after which there is likely to be room.
    """

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineError(PairscoreError, TimeoutError):
    """It could not be scored in the time that was given; what had not begun was not started."""


class MissingExtraError(PairscoreError, ImportError):
    """An optional dependency is not installed.

    Attributes:
        extra: the extra of the package that brings it.
    """

    def __init__(self, *, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs an optional dependency; install it with: "
            f"pip install 'pairscore[{extra}]'"
        )
        self.extra = extra


class SettingError(PairscoreError, ValueError):
    """An option has a value that makes no sense."""


class ScaleError(SettingError):
    """A score of one scale was to be compared with a score, or a threshold, of another."""


class ClosedError(PairscoreError, RuntimeError):
    """A CrossEncoder or an engine was used after it was closed, or while it was closing."""
