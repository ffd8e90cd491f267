"""The ways in which other servers are asked and answer, each in one small file.

A dialect says how its bodies look, what they ask for, how the answer is written and how an error looks.
It scores nothing: `records.Ask` goes to the one way that all requests take (`service.answering`), and
`records.Found` comes back. `table` says which path speaks what.
"""

from __future__ import annotations

__all__: list[str] = []
