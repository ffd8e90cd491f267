"""Blocks of a batch job, done by a cluster: Ray Data streams them to actors, and their reports back.

What passes through the driver and the object store is a block's description and its report; an actor reads the rows
and writes the results itself. Ray Data brings back-pressure, starts actors where nodes join, starts them again where
they die, and gives a dead one's block to another; a block that is done twice is written twice, alike.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

import ray
import ray.data
from ray.data import ActorPoolStrategy
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError, UserCodeException
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pairscore.batch.records import Block, BlockReport, Job
from pairscore.batch.work import BlockWorker
from pairscore.distributed.cluster import connected
from pairscore.distributed.failing import described, last_line, restored
from pairscore.errors import PairscoreError, SettingError, WorkerError

if TYPE_CHECKING:
    from ray.actor import ActorHandle
    from ray.data import Dataset

__all__ = ["RayRunner"]

# One is worked on, one waits at the actor: between two, the driver needs a tenth of a second. A block that
# waits is not begun, so nothing of it is lost with the actor.
_BLOCKS_AT_ACTOR: Final = 2
# A block that takes so many workers with it is not given to another.
_MAX_BEGUN: Final = 5
# Without any block done; longer than the largest block of the slowest model takes.
_MAX_SILENCE_S: Final = 2 * 3600.0
# The column of a block's description, and the one of what became of it.
_BLOCK: Final = "block"
_OUTCOME: Final = "outcome"


class RayRunner:
    """Gets the blocks of a job done by actors of a Ray cluster, each with a model of its own.

    The cluster is joined, or started, when the run begins; it is left, or ended, with the run.

    Args:
        address: of the cluster's head node, as `pairscore.distributed.cluster.connected` takes it.
        num_actors: how many at most; None for as many as the cluster has room for, now and when nodes join.
        cpus_per_actor: cores that each takes; the threads of its model, unless the job says how many.
        gpus_per_actor: GPUs that each takes; a fraction shares one among several actors.

    Raises:
        SettingError: a number makes no sense.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        num_actors: int | None = None,
        cpus_per_actor: float = 1.0,
        gpus_per_actor: float = 0.0,
    ) -> None:
        if num_actors is not None and num_actors < 1:
            raise SettingError(f"num_actors must be at least 1, not {num_actors}")
        if cpus_per_actor <= 0:
            raise SettingError(f"cpus_per_actor must be more than 0, not {cpus_per_actor:g}")
        if gpus_per_actor < 0 or (gpus_per_actor > 1 and gpus_per_actor % 1):
            raise SettingError(
                f"gpus_per_actor must be 0, a fraction of 1, or a whole number, not {gpus_per_actor:g}"
            )
        self._address = address
        self._num_actors = num_actors
        self._cpus = cpus_per_actor
        self._gpus = gpus_per_actor

    def run(self, job: Job, blocks: Sequence[Block]) -> Iterator[BlockReport]:
        """Do the blocks, in any order, and report each when its files and its marker are written.

        Closing the iterator early stops the work; blocks that are under way are given up.

        Raises:
            SettingError: there is no such cluster, or none of its nodes has room for an actor.
            WorkerError: a block took too many workers with it, or the cluster did not get on.
            PairscoreError: as `BlockWorker.work` has it.
        """
        if not blocks:
            return
        with connected(self._address):
            num_actors = min(self._room(), len(blocks), self._num_actors or len(blocks))
            dataset = self._dataset(self._with_threads(job), blocks, num_actors=num_actors)
            with closing(_outcomes(dataset)) as outcomes:
                yield from _reports(outcomes)

    def _room(self) -> int:
        """How many actors the nodes that are there have room for, if nobody else wants any."""
        room = sum(self._fits(node["Resources"]) for node in ray.nodes() if node["Alive"])
        if room:
            return room
        raise SettingError(
            f"no node of the Ray cluster has the {self._cpus:g} CPUs and {self._gpus:g} GPUs that a worker is to have; "
            "add such a node, or ask for less with --cpus-per-actor and --gpus-per-actor"
        )

    def _fits(self, resources: Mapping[str, float]) -> int:
        by_cpu = int(resources.get("CPU", 0.0) / self._cpus)
        return min(by_cpu, int(resources.get("GPU", 0.0) / self._gpus)) if self._gpus else by_cpu

    def _with_threads(self, job: Job) -> Job:
        """Let an actor's model take the actor's cores, and not all of the node's; on a GPU the backend knows better."""
        if job.model.num_workers is not None or self._gpus:
            return job
        return replace(job, model=replace(job.model, num_workers=max(1, int(self._cpus))))

    def _dataset(self, job: Job, blocks: Sequence[Block], *, num_actors: int) -> Dataset:
        # A row of the dataset is a block of ours, and a block of Ray's: the unit of back-pressure and of retries.
        rows = [{_BLOCK: json.dumps(asdict(block))} for block in blocks]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        _quiet(dataset)
        return dataset.map_batches(
            _Actor,
            batch_size=1,
            # Never of a fixed size: such a pool would wait for the room of a node that is gone.
            compute=ActorPoolStrategy(
                min_size=1,
                max_size=self._num_actors,
                initial_size=num_actors,
                max_tasks_in_flight_per_actor=_BLOCKS_AT_ACTOR,
            ),
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            fn_constructor_args=(job, _count_begun()),
        )


class _Actor:
    """One model, in a process of the cluster."""

    def __init__(self, job: Job, begun: ActorHandle[_Begun]) -> None:
        self._worker = BlockWorker(job)
        self._begun = begun

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        """Do one block.

        An error of ours is a result: Ray would take it for a defect, log it, and hand on its text alone.
        """
        block = Block(**json.loads(str(batch[_BLOCK][0])))
        try:
            _check_begun(block, ray.get(self._begun.count.remote(block.name)))
            outcome = {"report": asdict(self._worker.work(block))}
        except PairscoreError as error:
            outcome = {"error": described(error)}
        return {_OUTCOME: [json.dumps(outcome, default=str)]}


class _Begun:
    """Counts how often each block was begun, beside the driver: whoever works on a block may be gone before it can tell."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, name: str) -> int:
        """Count once more."""
        self._counts[name] += 1
        return self._counts[name]


def _count_begun() -> ActorHandle[_Begun]:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    counting = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Begun)
    handle: ActorHandle[_Begun] = counting.options(scheduling_strategy=here).remote()
    return handle


def _check_begun(block: Block, num_begun: int) -> None:
    if num_begun > _MAX_BEGUN:
        raise WorkerError(
            f"block {block.name} (rows {block.first_row:,} to {block.first_row + block.num_rows - 1:,} of its file) "
            f"was begun {_MAX_BEGUN} times, and each time its worker died; it may need more memory than there is: "
            "make blocks smaller with --block-rows, or let fewer actors share a node with --cpus-per-actor"
        )


def _outcomes(dataset: Dataset) -> Generator[str]:
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="numpy"):
            yield from map(str, batch[_OUTCOME])
    except ExecutionTimeoutError as error:
        raise WorkerError(
            f"the Ray cluster did not finish a block in {_MAX_SILENCE_S / 3600:g} hours; see with `ray status` whether "
            "it has room for a worker, make blocks smaller with --block-rows, and go on with --resume"
        ) from error
    except UserCodeException:
        # A defect of ours, with its traceback.
        raise
    except RayError as error:
        raise WorkerError(
            f"the Ray cluster failed: {last_line(str(error)) or type(error).__name__}; every node needs pairscore with the extra ray, of this "
            "version; what is done is kept, go on with --resume"
        ) from error


def _reports(outcomes: Iterator[str]) -> Iterator[BlockReport]:
    # A lost report is made again, and with it the block.
    reported: set[str] = set()
    for outcome in map(json.loads, outcomes):
        if "error" in outcome:
            raise restored(outcome["error"])
        report = BlockReport(**outcome["report"])
        if report.name not in reported:
            reported.add(report.name)
            yield report


def _quiet(dataset: Dataset) -> None:
    """Whoever called draws the progress and tells of errors; Ray's own words stay in its log files."""
    context = dataset.context
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = _MAX_SILENCE_S
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
