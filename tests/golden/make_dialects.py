"""Write the bytes of each dialect anew.

Run it when an answer was changed on purpose, and read the difference::

python tests/golden/make_dialects.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.service.dialects.cases import DIALECTS, answers  # noqa: E402 - after the path

FOLDER = Path(__file__).parent / "dialects"


def main() -> int:
    """One file a dialect."""
    FOLDER.mkdir(exist_ok=True)
    for name, spoken in DIALECTS.items():
        content = json.dumps(dict(answers(spoken)), indent=2, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(content + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
