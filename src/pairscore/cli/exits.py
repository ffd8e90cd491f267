"""Exit codes: one table from the kind of error to the number that the shell sees.

=====  ===========================================================================
code   when
=====  ===========================================================================
0      everything was done
2      an option or an argument makes no sense
65     the data cannot be scored: a broken line, a missing column, no pair at all
66     the input file or the index is missing or may not be read
69     the model would have to be fetched, and the network is closed
70     the model failed, or there is a bug in pairscore
71     there was not enough memory
73     the output cannot be written, or exists already
74     reading or writing failed half-way
75     there was too much to do, or too little time; try again
78     the model, the index or an optional dependency is not there or not usable
130    stopped by Ctrl-C (143: by SIGTERM); what was done is kept
141    whoever read the output went away, as `head` does
=====  ===========================================================================

The numbers are those of BSD's sysexits, so that a script can tell "my data is broken" from "try again".
"""

from __future__ import annotations

import signal

from pairscore import errors

__all__ = ["EXIT_CODES", "FAILED_IO", "HELP", "INTERNAL", "NO_MEMORY", "NO_READER", "exit_code"]

INTERNAL = 70
NO_MEMORY = 71
FAILED_IO = 74
NO_READER = 128 + getattr(signal, "SIGPIPE", 13)

_USAGE = 2
_DATA = 65
_NO_INPUT = 66
_UNAVAILABLE = 69
_NO_OUTPUT = 73
_TRY_AGAIN = 75
_NOT_USABLE = 78

EXIT_CODES: dict[type[errors.PairscoreError], int] = {
    errors.PairscoreError: INTERNAL,
    errors.InputError: _DATA,
    errors.PairError: _DATA,
    errors.TextError: _DATA,
    errors.EmptyInputError: _DATA,
    errors.LimitError: _DATA,
    errors.TooLongError: _DATA,
    errors.FilterError: _DATA,
    errors.DataFileError: _DATA,
    errors.InputFileError: _NO_INPUT,
    errors.OutputFileError: _NO_OUTPUT,
    errors.ModelError: _NOT_USABLE,
    errors.ModelNotFoundError: _NOT_USABLE,
    errors.ModelOfflineError: _UNAVAILABLE,
    errors.ModelCorruptError: _NOT_USABLE,
    errors.ModelUnsupportedError: _NOT_USABLE,
    errors.ModelCheckError: _NOT_USABLE,
    errors.ParityError: _NOT_USABLE,
    errors.SearchIndexError: _NOT_USABLE,
    errors.IndexNotFoundError: _NO_INPUT,
    errors.IndexMismatchError: _NOT_USABLE,
    errors.IndexCorruptError: _NOT_USABLE,
    errors.IndexBusyError: _TRY_AGAIN,
    errors.BackendError: INTERNAL,
    errors.NonFiniteScoreError: INTERNAL,
    errors.OutOfMemoryError: NO_MEMORY,
    errors.WorkerError: INTERNAL,
    errors.TrainingError: INTERNAL,
    errors.OverloadError: _TRY_AGAIN,
    errors.DeadlineError: _TRY_AGAIN,
    errors.MissingExtraError: _NOT_USABLE,
    errors.SettingError: _USAGE,
    errors.ScaleError: _USAGE,
    errors.ClosedError: INTERNAL,
}
"""Every error of the tree has its own entry; a test walks the tree."""

HELP = """Exit codes:

  0   done                          70  the model failed, or a bug
  2   wrong option or argument      71  out of memory
  65  data that cannot be scored    73  output cannot be written
  66  input file missing            74  reading or writing failed
  69  model not here, and offline   75  too busy or too late, try again
                                    78  model or extra not usable
  130 stopped by Ctrl-C (143 by SIGTERM); what was done is kept"""


def exit_code(error: errors.PairscoreError) -> int:
    """The exit code of an error; a stranger's subclass gets that of its nearest known base."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)
