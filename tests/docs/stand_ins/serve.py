"""What stands in for `pairscore serve`: the service, in the background, in the place of the one before it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

_READY_S = 60.0


def main() -> None:
    """Come back when it is ready; fail with its log if it ends before, or takes too long."""
    kept, log, port = (os.environ[f"DESK_{name}"] for name in ("SERVER", "LOG", "PORT"))
    if Path(kept).exists():
        sys.path.append(os.environ["DESK_ROOT"])
        from tests.docs.processes import stop

        stop(int(Path(kept).read_text("utf-8")))
    command = [sys.executable, "-m", "pairscore", *sys.argv[1:], "--port", port]
    with Path(log).open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    Path(kept).write_text(str(process.pid), "utf-8")
    until = time.monotonic() + _READY_S
    while not _is_ready(port):
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            sys.exit(f"the service is not ready:\n{Path(log).read_text('utf-8')}")
        time.sleep(0.05)
    # It outlives this process.
    process.returncode = 0


def _is_ready(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


if __name__ == "__main__":
    main()
