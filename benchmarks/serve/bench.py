"""How the servers fare under load: pairscore, a plain FastAPI app, Infinity; same weights, same texts, one run.

One server runs at a time; a round starts, warms, measures and ends each of them, and the next round begins
again. Reported are the medians over the rounds, and the medians of the ratios within a round. Run it with::

    python benchmarks/serve/bench.py --save serve
    python benchmarks/serve/bench.py --quick           # under three minutes, to see that all works
    python benchmarks/serve/bench.py --only memory     # 100,000 pairs, resident memory meanwhile
"""

from __future__ import annotations

import sys
from pathlib import Path

# The other benchmarks' modules lie one folder up, and this folder's are the package `serve` there.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from serve.main import main  # noqa: E402 - after the path

if __name__ == "__main__":
    sys.exit(main(__doc__))
