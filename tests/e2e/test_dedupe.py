"""`pairscore dedupe` as a process: killed without warning it goes on where it was, and ends as if nothing had been."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.processes import TIMEOUT_S, ended, size, started, wait_until

NUM_TEXTS = 2500
OPTIONS = ("--backend", "fake", "--threshold", "-6", "--min-similarity", "0.3", "--neighbours", "3")


def _texts(count: int) -> str:
    """Lines, of which neighbours share most of their words."""
    words = ("red", "old", "river", "house", "train", "garden", "winter", "market", "late", "small")
    lines = (
        f"{words[i // 3 % 10]} {words[i // 7 % 10]} {i // 4} {words[i % 4]} house {i // 40}"
        for i in range(count)
    )
    return "\n".join(lines)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of many short texts."""
    path = tmp_path_factory.mktemp("dedupe") / "lines.txt"
    path.write_text(_texts(NUM_TEXTS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(source: Path) -> bytes:
    """The output of a run in one go."""
    target = source.with_name("whole.csv")
    ended(_started(source, "-o", target))
    return target.read_bytes()


def _started(*args: object) -> subprocess.Popen[str]:
    return started("dedupe", *args, *OPTIONS)


@pytest.mark.slow
# Vectors count as kept when it is kept, too, which texts were cut.
@pytest.mark.parametrize("stage", ["truncated", "neighbours", "scores"])
def test_a_killed_run_goes_on_where_it_was(
    source: Path, tmp_path: Path, whole: bytes, stage: str
) -> None:
    """Whatever it was doing: nothing that was kept is done again, and the output is that of a run in one go."""
    target = tmp_path / "out.csv"
    killed = _started(source, "-o", target)
    records = tmp_path / "out.csv.work" / f"{stage}.records"
    wait_until(lambda: size(records) > 0, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    said = ended(_started(source, "-o", target))
    assert "are there already" in said
    assert target.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.slow
def test_a_stopped_run_says_what_is_kept(source: Path, tmp_path: Path) -> None:
    """SIGTERM ends it with its own code; the folder is there, and the same command finishes."""
    target = tmp_path / "out.jsonl"
    stopped = _started(source, "-o", target)
    work = tmp_path / "out.jsonl.work"
    wait_until(lambda: size(work / "truncated.records") > 0, stopped)
    stopped.send_signal(signal.SIGTERM)
    _, said = stopped.communicate(timeout=TIMEOUT_S)

    assert stopped.returncode == 143
    assert "the same command goes on" in said
    assert "are there already" in ended(_started(source, "-o", target))
    assert len(target.read_text("utf-8").splitlines()) == NUM_TEXTS
    assert not work.exists()


@pytest.mark.slow
def test_a_full_disk_loses_nothing_that_was_kept(source: Path, tmp_path: Path) -> None:
    """A work folder that cannot grow is told by its name, and what is in it is used when there is room again."""
    target = tmp_path / "out.csv"
    limit = 2_300_000

    def bounded() -> None:
        # A file that would grow further is refused, as on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    full = subprocess.run(
        [sys.executable, "-m", "pairscore", "dedupe", str(source), "-o", str(target), *OPTIONS],
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        preexec_fn=bounded,
    )

    assert full.returncode == 73, full.stderr
    assert "--work" in full.stderr
    assert not target.exists()
    assert "are there already" in ended(_started(source, "-o", target))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_thousand_texts_in_bounded_memory() -> None:
    """Vectors on the disk take their room in memory only while there is some; a gigabyte is enough for all the rest."""
    benchmark = Path(__file__).parent.parent.parent / "benchmarks" / "dedupe.py"
    done = subprocess.run(
        [sys.executable, str(benchmark), "--num-texts", "100000"],
        check=True,
        capture_output=True,
        text=True,
        timeout=880,
    )
    told = json.loads(done.stdout.splitlines()[-1])

    assert told["num_texts"] == 100_000
    assert told["num_groups"] > 10_000
    assert told["peak_mb"] < 1000
