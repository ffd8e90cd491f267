"""One interpreter for all Python of a page: sources in as JSON lines, what they printed and how they failed out."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from typing import Any


def main() -> None:
    """Run sources until there are no more, in one namespace, as a reader would who goes through the page."""
    answers, space = sys.stdout, {"__name__": "__main__"}
    for line in sys.stdin:
        answers.write(json.dumps(_run(json.loads(line), space)) + "\n")
        answers.flush()


def _run(job: dict[str, str], space: dict[str, Any]) -> dict[str, Any]:
    printed, error = io.StringIO(), None
    # The lines of a traceback are the page's.
    source = "\n" * int(job["line"]) + job["source"]
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(source, job["page"], "exec", dont_inherit=True), space)
        except BaseException:  # noqa: BLE001 - whatever it is, the page's reader would see it
            error = traceback.format_exc()
    return {"printed": printed.getvalue(), "error": error}


if __name__ == "__main__":
    main()
