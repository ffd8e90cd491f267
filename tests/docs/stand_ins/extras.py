"""What stands in for `pip install`: pairscore's extras must be those of pyproject.toml."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path


def main() -> None:
    """Look at each requirement; refuse what does not exist."""
    project = tomllib.loads((Path(os.environ["DESK_ROOT"]) / "pyproject.toml").read_text("utf-8"))
    known = set(project["project"]["optional-dependencies"])
    if sys.argv[1:2] != ["install"]:
        sys.exit(f"only `pip install` is known here, not {sys.argv[1:]}")
    for word in sys.argv[2:]:
        found = re.fullmatch(r"pairscore(?:\[([\w,-]+)\])?", word)
        asked = set((found[1] or "").split(",")) - {""} if found else set()
        if missing := asked - known:
            sys.exit(f"{word}: pairscore has no extra {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
