"""What a diagnosis is made of: the machine, its peak, what a pair costs, whether the hub answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from huggingface_hub import constants

from pairscore.diagnosis.flops import flops_of_pair
from pairscore.diagnosis.machine import FLAGS, int8_on, this_machine
from pairscore.diagnosis.products import Numbers, product_graph
from pairscore.models import places
from pairscore.models.facts import Facts, read_facts
from pairscore.models.resolve import resolve
from pairscore.road.machine import Memory, cpu_flags, cpu_name, memory
from pairscore.road.rate import rate

# --- the machine ---


def _machine_files(folder: Path, cgroup: str, **files: str) -> tuple[Path, Path]:
    proc, cgroups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(cgroup)
    (proc / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 600 kB\n")
    (proc / "cpuinfo").write_text("model name\t: A CPU\nflags\t\t: fpu avx2 avx512_vnni\n")
    for name, content in files.items():
        place = cgroups / name.replace("__", "/").replace("_of_", ".")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return proc, cgroups


def test_memory_without_a_cgroup(tmp_path: Path) -> None:
    """The machine's own; and nothing where the system says nothing."""
    proc, cgroups = _machine_files(tmp_path, "0::/\n", memory_of_max="max\n")

    assert memory(proc, cgroups) == Memory(total=1_024_000, available=614_400, limit=None)
    assert memory(tmp_path / "no", tmp_path / "no") == Memory(
        total=None, available=None, limit=None
    )
    assert cpu_name(proc) == "A CPU"
    assert cpu_flags(proc) == {"fpu", "avx2", "avx512_vnni"}
    assert cpu_name(tmp_path / "no")


def test_memory_of_a_cgroup(tmp_path: Path) -> None:
    """The least of all levels counts, and pages of files that can be given back are free."""
    proc, cgroups = _machine_files(
        tmp_path,
        "0::/pod/container\n",
        pod__memory_of_max="500000\n",
        pod__memory_of_current="100000\n",
        pod__container__memory_of_max="300000\n",
        pod__container__memory_of_current="250000\n",
        pod__container__memory_of_stat="anon 5\ninactive_file 20000\n",
    )

    assert memory(proc, cgroups) == Memory(total=1_024_000, available=70_000, limit=300_000)


def test_memory_of_a_cgroup_of_version_1(tmp_path: Path) -> None:
    """Its controllers have folders of their own, and no limit is a huge number."""
    files = {"memory__job__memory_of_limit_in_bytes": "200000\n"}
    files |= {"memory__memory_of_limit_in_bytes": "9223372036854771712\n"}
    proc, cgroups = _machine_files(tmp_path, "4:cpu,cpuacct:/x\n3:memory:/job\n", **files)

    assert memory(proc, cgroups).limit == 200_000


@pytest.mark.parametrize(
    ("flags", "word"),
    [(("avx2",), "no VNNI"), (("avx2", "avx_vnni"), "VNNI"), (("amx_int8",), "AMX"), ((), "AVX2")],
)
def test_what_flags_mean_for_int8(flags: tuple[str, ...], word: str) -> None:
    """A sentence for each kind of CPU; what is not listed is not guessed."""
    assert int8_on(flags).startswith(word) or word in int8_on(flags)
    assert "speed test" in int8_on(flags, is_known=False)
    assert set(this_machine().flags) <= set(FLAGS)


# --- the speed test ---


def test_operations_of_a_pair() -> None:
    """MiniLM-L12 costs 42.5 MFLOP a token and the attention: 5.03 GFLOP for 113 tokens."""
    facts = read_facts(resolve().folder)
    a_token = 12 * 2 * (4 * 384 * 384 + 2 * 384 * 1536)

    assert a_token == 42_467_328
    expected = 113 * a_token + 12 * 2 * 2 * 113 * 113 * 384
    assert flops_of_pair(facts, num_tokens=113) == expected


def test_operations_of_other_architectures() -> None:
    """A gate is a third product, shared keys are narrower; what is not known has no number."""
    config = {
        "model_type": "qwen3",
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "intermediate_size": 16,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
    }

    def flops(**changes: Any) -> float | None:
        facts: Facts = replace(read_facts(resolve().folder), config=config | changes)
        return flops_of_pair(facts, num_tokens=1)

    assert flops() == 2 * (2 * 8 * 16 + 2 * 8 * 8 + 3 * 8 * 16) + 4 * 16
    assert flops(model_type="deberta-v2") is None
    assert flops(intermediate_size=None) is None


@pytest.mark.parametrize(
    ("numbers", "kind", "result"),
    [("int8", np.uint8, np.int32), ("float32", np.float32, np.float32)],
)
def test_the_graph_of_one_product(numbers: Numbers, kind: Any, result: Any) -> None:
    """It is an ONNX file as the checker wants it, and multiplies."""
    graph = product_graph(numbers, rows=2, inner=300, columns=5)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (product,) = session.run(["c"], {"a": np.full((2, 300), 200, dtype=kind)})

    assert product.dtype == result
    assert np.array_equal(product, np.full((2, 5), 60_000))


def test_a_rate_counts_every_thread() -> None:
    """Each runs once at least, and one that fails is heard."""
    seen: set[int] = set()
    both = threading.Barrier(2, timeout=10)

    def work() -> float:
        if threading.get_ident() not in seen:
            both.wait()
            seen.add(threading.get_ident())
        return 3.0

    assert rate(work, num_workers=2, seconds=0.01) > 0
    assert len(seen) == 2
    with pytest.raises(ZeroDivisionError):
        rate(lambda: 1 / 0, num_workers=2, seconds=60)


# --- the hub ---


@contextmanager
def _hub(status: int) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _open_to(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.mark.parametrize("status", [200, 401, 503])
def test_a_hub_that_answers(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Whatever it says, it was reached."""
    with _hub(status) as endpoint:
        _open_to(endpoint, monkeypatch)
        reach = places.reach_hub()

    assert reach.reached
    assert reach.seconds is not None


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is told; a password in its address is not."""
    with _hub(200) as endpoint:
        gone = endpoint.replace("http://", "http://me:secret@")
    _open_to(gone, monkeypatch)
    reach = places.reach_hub()

    assert not reach.reached
    assert reach.why_not
    assert "secret" not in str(reach)


def test_a_closed_network_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE wins over --network; nor is anything but HTTP opened."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert "HF_HUB_OFFLINE" in places.reach_hub().why_not
    _open_to("file:///etc/passwd", monkeypatch)
    assert not places.reach_hub().reached
