"""Run code of docs/clients.md in the clients' own environment: jobs in as JSON, outcomes out.

A script for another interpreter than the tests': it may import nothing of pairscore or pytest.
"""

from __future__ import annotations

import ast
import contextlib
import json
import sys
import urllib.request
import warnings
from typing import Any


class Fill(ast.NodeTransformer):
    """Give variables that the code sets other values."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        """`query = ...` and `documents = ...`."""
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id in self._values:
            node.value = ast.parse(repr(self._values[target.id]), mode="eval").body
        return node


def run(job: dict[str, Any]) -> dict[str, Any]:
    """The ranking, or the error with its family; of an overloaded server the statuses too."""
    outcome: dict[str, Any] = {}
    if job["overloaded"]:
        _ask(job["overloaded"] + "/arm")
    try:
        tree = Fill(job["values"]).visit(ast.parse(job["source"]))
        space: dict[str, Any] = {}
        exec(compile(ast.fix_missing_locations(tree), "docs/clients.md", "exec"), space)
        outcome["ranking"] = [[text, float(score)] for text, score in space["ranking"]]
    except Exception as error:  # noqa: BLE001 - whatever a client raises is what is asked for
        outcome["error"] = [f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__]
        outcome["message"] = str(error)
    if job["overloaded"]:
        outcome["statuses"] = _ask(job["overloaded"] + "/seen")
    return outcome


def _ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as response:
        return json.load(response)


def main() -> None:
    """All jobs, in order."""
    warnings.simplefilter("ignore")
    answers = sys.stdout
    # What the code prints is for its readers.
    with contextlib.redirect_stdout(sys.stderr):
        outcomes = [run(job) for job in json.load(sys.stdin)]
    json.dump(outcomes, answers)


if __name__ == "__main__":
    main()
