"""Write `scores.json` anew, after a deliberate change of the bundled weights.

python tests/golden/make.py
"""

from __future__ import annotations

import json
from pathlib import Path

from pairscore import CrossEncoder

PATH = Path(__file__).parent / "scores.json"


def main() -> None:
    """Score the stored pairs again and keep everything else."""
    content = json.loads(PATH.read_text(encoding="utf-8"))
    with CrossEncoder() as model:
        logits = model.score([(e["query"], e["document"]) for e in content["pairs"]]).logits
    for entry, logit in zip(content["pairs"], logits, strict=True):
        entry["logit"] = round(float(logit), 5)
    PATH.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
