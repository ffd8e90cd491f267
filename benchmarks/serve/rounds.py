"""The rounds: each server started, warmed, measured and ended in turn, and the library on the same pairs."""

from __future__ import annotations

import argparse
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from measuring import Bench, say
from serve.cells import Load, Measurement, measure
from serve.contestants import INFINITY_TORCH, OWN, own, peer_specs
from serve.idle import IdleJob, Times, alone
from serve.load import Job
from serve.servers import Server, Spec
from serve.traffic import Row, Texts, Wire
from workers import WORK, PeerError, Worker, write_pairs

__all__ = ["OPEN", "TARGET", "Found", "Rounds", "plan"]

TARGET = Load(num_documents=20, num_clients=8)
"""What the promises are about."""

OPEN = tuple(Load(num_documents=5, share=share) for share in (0.5, 0.8, 1.2))
"""Random arrivals at shares of the capacity that was measured at the target, on pairscore."""

_WITH_PEERS = frozenset({"load", "idle"})
_FEW = (1, 8, 32)
_WARM_UP, _WARM_UP_S = Load(num_documents=20, num_clients=8), 5.0
_SCORES_REQUESTS = 3
# Which turn of the texts each thing begins with: none meets a pair that another one met. A load has three.
_SCORES_TURN, _LOADS_TURN, _TURNS_A_LOAD = 0, 1, 3
_WARM_UP_TURN, _IDLE_TURN, _OVERHEAD_TURN = 40, 41, 42


@dataclass(slots=True)
class Found:
    """What one server gave.

    Attributes:
        spec: which one.
        loads: one entry for each round in which the load was put on it.
        idle: one entry for each round.
        overhead: the same, with the library beside it; of pairscore only.
        scores: logits of a few pairs.
        start_s: seconds from its start to its first healthy answer, one for each round.
        note: why it was not measured, if it was not.
    """

    spec: Spec
    loads: dict[Load, list[Measurement]] = field(default_factory=dict)
    idle: list[Times] = field(default_factory=list)
    overhead: list[Times] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    note: str = ""

    def rates(self, load: Load) -> list[float]:
        """Pairs a second in each round."""
        return [measured.pairs_per_s for measured in self.loads.get(load, [])]


def plan(options: argparse.Namespace, spec: Spec | None = None) -> list[Load]:
    """What is put on a server in the first round, the target first; on one without a name, everything.

    Infinity on torch is measured in few places: no promise is about it, and each of its loads takes long.
    """
    few = spec is not None and spec.name == INFINITY_TORCH
    size, num_clients = TARGET.num_documents, TARGET.num_clients
    clients = [count for count in options.clients if count in _FEW or not few]
    loads = [TARGET, *(Load(num_documents=size, num_clients=count) for count in clients)]
    loads += [Load(num_documents=count, num_clients=num_clients) for count in options.documents]
    return list(dict.fromkeys(loads))


class Rounds:
    """All rounds of one run.

    Args:
        options: the command line.
        texts: what is sent.
        stack: ends the library's worker with the run.
    """

    def __init__(self, options: argparse.Namespace, texts: Texts, stack: ExitStack) -> None:
        self._options, self._texts = options, texts
        self._file = str(texts.write(WORK / "serve-texts.json"))
        self._parts = set(options.only)
        self._turns = {
            load: _LOADS_TURN + _TURNS_A_LOAD * place
            for place, load in enumerate([*plan(options), *OPEN])
        }
        pairs = self._library_pairs()
        self._bench = Bench(options, write_pairs(pairs, "serve-pairs"), len(pairs), stack)
        specs = [own(self._bench)]
        self.missing: dict[str, str] = {}
        """Which servers cannot be set up here, and why."""
        if self._parts & _WITH_PEERS:
            peers, self.missing = peer_specs(self._bench)
            specs += peers
        self.found = [Found(spec) for spec in specs]
        """What each server gave, pairscore first."""
        self.library: list[float] = []
        """Pairs a second of `CrossEncoder.predict` in each round, on what the server answered at the target."""
        self._worker: Worker | None = None

    def run(self) -> None:
        """Round after round; a server that fails is left out from then on, with the reason."""
        if not self._parts & {*_WITH_PEERS, "open"}:
            return
        if "load" in self._parts:
            spec = self.found[0].spec
            load = {"kind": "pairscore", "model": self._options.model}
            self._worker = self._bench.start("serve-library", python=spec.python, **load)
        for number in range(self._options.rounds):
            for found in self.found:
                if found.note:
                    continue
                say(f"round {number + 1}/{self._options.rounds}: {found.spec.name}")
                try:
                    self._visit(found, number)
                except PeerError as error:
                    say(str(error))
                    found.note = str(error)

    def _visit(self, found: Found, number: int) -> None:
        is_own = found.spec.name == OWN
        with Server(found.spec) as server:
            found.start_s.append(server.start_s)
            self._put(server, _WARM_UP, turn=_WARM_UP_TURN, seconds=_WARM_UP_S)
            if number == 0:
                found.scores = self._scores(server)
            if "idle" in self._parts:
                self._ask_alone(found, server)
            if "load" in self._parts:
                for load in plan(self._options, found.spec) if number == 0 else [TARGET]:
                    self._keep(found, load, self._put(server, load, turn=self._turns[load]))
            if "open" in self._parts and is_own and number == self._options.rounds - 1:
                self._put_open(found, server)
        if is_own and self._worker is not None:
            self._ask_library(found, self._worker)

    def _put(
        self,
        server: Server,
        load: Load,
        *,
        turn: int,
        seconds: float | None = None,
        rate: float = 0.0,
    ) -> Measurement:
        job = Job(
            port=server.port,
            wire=server.spec.wire(load.num_documents),
            texts=self._file,
            num_documents=load.num_documents,
            first=turn * len(Row(self._texts, load.num_documents)),
            num_clients=load.num_clients,
            rate=rate,
            seconds=self._options.seconds if seconds is None else seconds,
            health=server.health,
        )
        return measure(server, job)

    def _keep(self, found: Found, load: Load, measured: Measurement) -> None:
        found.loads.setdefault(load, []).append(measured)
        others = "" if measured.others is None else f" (others: {measured.others:.0%} of the CPU)"
        failed = f", errors {measured.errors}" if measured.errors else ""
        say(f"{found.spec.name}: {load}: {measured.pairs_per_s:.1f} pairs/s{failed}{others}")

    def _put_open(self, found: Found, server: Server) -> None:
        """Random arrivals, at shares of the capacity of this run."""
        if not found.rates(TARGET):
            self._keep(found, TARGET, self._put(server, TARGET, turn=self._turns[TARGET]))
        capacity = statistics.median(found.rates(TARGET))
        for load in OPEN:
            rate = load.share * capacity / load.num_documents
            seconds = self._options.open_seconds
            turn = self._turns[load]
            self._keep(found, load, self._put(server, load, turn=turn, seconds=seconds, rate=rate))

    def _ask_alone(self, found: Found, server: Server) -> None:
        """One pair at a time; of pairscore, the library's own time beside it too."""
        job = IdleJob(
            port=server.port,
            wire=server.spec.wire(1),
            texts=self._file,
            first=_IDLE_TURN * len(Row(self._texts, 1)),
            num_pairs=self._options.num_idle,
        )
        found.idle.append(alone(job))
        if found.spec.name == OWN:
            first = _OVERHEAD_TURN * len(Row(self._texts, 1))
            score = replace(job, wire=Wire("score"), first=first, library=True)
            found.overhead.append(alone(replace(score, model=self._options.model)))

    def _scores(self, server: Server) -> list[float]:
        row = Row(self._texts, TARGET.num_documents)
        first = _SCORES_TURN * len(row)
        requests = [row.at(first + place) for place in range(_SCORES_REQUESTS)]
        return [score for request in requests for score in server.scores(request)]

    def _library_pairs(self) -> list[tuple[str, str]]:
        """What the target sends, as far as a fast machine gets with it."""
        row = Row(self._texts, TARGET.num_documents)
        first = self._turns[TARGET] * len(row)
        places = range(first, first + _TURNS_A_LOAD * len(row))
        return [pair for place in places for pair in row.at(place).pairs]

    def _ask_library(self, found: Found, worker: Worker) -> None:
        last = found.loads[TARGET][-1]
        num_pairs = min(last.num_sent * TARGET.num_documents, self._bench.num_pairs)
        answer = worker.ask({"num_pairs": num_pairs})
        self.library.append(num_pairs / answer["seconds"])
        say(f"the library on the same {num_pairs} pairs: {self.library[-1]:.1f} pairs/s")
