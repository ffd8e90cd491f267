"""Ray clusters of several nodes on this machine, and what befalls them: tests and benchmarks share them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

# Read when Ray is imported: without clusters of several machines it listens on this machine alone.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import pytest
import ray
from ray.cluster_utils import Cluster

__all__ = ["MARKS", "add_node", "kill", "kill_node", "started_cluster"]

MARKS = (
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # Two clusters at once on two cores are slower than one after the other.
    pytest.mark.xdist_group("ray"),
    # Ray leaves sockets and log files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
)
"""Of a module of tests that starts clusters."""

_STORE_BYTES = 80 * 1024 * 1024


@contextmanager
def started_cluster(*, nodes: Sequence[float]) -> Iterator[Cluster]:
    """A head node without cores, where drivers connect, and one node for each number of cores.

    Everything of it lies in a folder of its own, with a short path: the names of sockets are limited.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    settings = {"RAY_TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0"}
    with patch.dict(os.environ, settings):
        os.environ.pop("RAY_ADDRESS", None)
        cluster = Cluster()
        try:
            add_node(cluster, 0, include_dashboard=False)
            for num_cpus in nodes:
                add_node(cluster, num_cpus)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def add_node(cluster: Cluster, num_cpus: float, **options: Any) -> Any:
    """One node more, which is there when this returns."""
    return cluster.add_node(
        num_cpus=num_cpus,
        object_store_memory=_STORE_BYTES,
        **options,
    )


def kill(worker: str) -> None:
    """``kill -9`` to who a report says did it: ``host:pid``."""
    os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)


def kill_node(cluster: Cluster, node: Any) -> None:
    """``kill -9`` to everything of a node: its actors end with it, and the cluster is not told."""
    cluster.remove_node(node, allow_graceful=False)
