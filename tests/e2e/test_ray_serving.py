"""`pairscore serve --ray` on a real cluster: the same answers, health, scaling, updates, death, several models."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import yaml
from tests.ports import free_port

ray = pytest.importorskip("ray")

with warnings.catch_warnings():
    # Ray Serve declares its fields as pydantic did once.
    warnings.simplefilter("ignore")
    from ray import cloudpickle, serve
    from ray._private import state
    from ray.serve.schema import ProxyStatus, ServeDeploySchema, ServeStatus
    from tests.ray_clusters import MARKS

from pairscore.distributed import proxies, serving  # noqa: E402 - Ray must be known to be there
from pairscore.distributed.replica import OnlyReplica  # noqa: E402
from pairscore.distributed.scaling import ReplicaOptions  # noqa: E402
from pairscore.errors import WorkerError  # noqa: E402
from pairscore.service.app import create_app  # noqa: E402
from pairscore.service.settings import ServiceSettings  # noqa: E402

pytestmark = [*MARKS, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).parent.parent.parent
WITHIN_S = 300.0
PAIR = {"text_a": "how many live in berlin", "text_b": "berlin has many people"}
RANKING = {"query": "how many live in berlin", "documents": ["many live there", "berlin", "live"]}
JSON = {"Content-Type": "application/json"}
TOO_LARGE = b" " * (16 * 1024 * 1024 + 1)
_MARKS = itertools.count()
BATCH = {"queries": [RANKING] * 3}
# A method, a path and a body of each kind of answer, in several dialects.
ASKED = [
    ("POST", "/score", PAIR),
    ("POST", "/score/batch", {"pairs": [PAIR, PAIR]}),
    ("POST", "/rerank", RANKING),
    ("POST", "/v1/rerank", RANKING),
    ("POST", "/v1/rerank/batch", BATCH),
    ("POST", "/v2/rerank", {**RANKING, "model": "ms-marco-minilm-l12"}),
    ("POST", "/predict", {"inputs": [["a b", "b c"]]}),
    ("POST", "/rerank", {"query": "a"}),
    ("POST", "/rerank", {**RANKING, "model": "unknown"}),
    ("GET", "/nowhere", None),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class There:
    """The cluster of this module, and where its proxy answers."""

    port: int
    address: str

    @property
    def base(self) -> str:
        """Of its addresses."""
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def there() -> Iterator[There]:
    """One node with more cores than there are, and Serve on it."""
    folder = Path(tempfile.mkdtemp(prefix="rs-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("HF_HUB_OFFLINE", "1")
        ray.init(
            num_cpus=8,
            object_store_memory=100 * 1024 * 1024,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=str(folder),
        )
        try:
            port = free_port()
            proxies.start(_settings(port=port), was_there=False)
            yield There(port=port, address=ray.get_runtime_context().gcs_address)
        finally:
            serve.shutdown()
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def _settings(**more: Any) -> ServiceSettings:
    return ServiceSettings(
        **{"backend": "fake", "compare_encoder": "none", "grace_s": 5, "cache_bytes": 0, **more}
    )


def _deploy(options: ReplicaOptions | None = None, **settings: Any) -> None:
    serving.deploy(
        serving.application(_settings(**settings), options or ReplicaOptions(cpus_per_replica=0.5))
    )


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {WITHIN_S} s: {what}"
        time.sleep(0.1)


def _replicas(there: There) -> set[str]:
    """The replicas that answer, as their numbers name them."""
    text = httpx.get(f"{there.base}/metrics", timeout=WITHIN_S).text
    lines = [
        line for line in text.splitlines() if line.startswith("process_resident_memory_bytes{")
    ]
    return {line.partition('replica="')[2].partition('"')[0] for line in lines}


def _pids() -> list[int]:
    """The processes of the replicas."""
    listed = state.actors().values()
    return [
        actor["Pid"]
        for actor in listed
        if actor["State"] == "ALIVE" and actor["ActorClassName"].startswith("ServeReplica")
    ]


@dataclass
class Load:
    """What clients saw that never stop asking."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self, base: str, make: Callable[[], dict[str, Any]], *, tries: int) -> None:
        """One client: a request after the other, each tried again so often when it was lost."""
        with httpx.Client(base_url=base, timeout=WITHIN_S) as client:
            while not self.ended.is_set():
                left, body = tries, make()
                while True:
                    left -= 1
                    status = self._status(client, body)
                    if status == "200":
                        self.answered += 1
                        break
                    if not left:
                        self.failed.append(status)
                        break
                    time.sleep(0.05)

    @staticmethod
    def _status(client: httpx.Client, body: dict[str, Any]) -> str:
        try:
            return str(client.post("/rerank", json=body).status_code)
        except httpx.TransportError as error:
            return type(error).__name__


def _large(*, num: int = 500, repeats: int = 40) -> dict[str, Any]:
    """A request that takes a while; no pair of it was asked before, because equal ones are scored once."""
    mark = next(_MARKS)
    return {
        "query": "a b c d",
        "documents": [f"{mark} {n} " + "a b c d " * repeats for n in range(num)],
    }


@contextmanager
def _load(
    there: There, *, clients: int = 4, tries: int = 1, make: Callable[[], Any] = lambda: RANKING
) -> Iterator[Load]:
    load = Load()
    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(load.ask, there.base, make, tries=tries) for _ in range(clients)]
        try:
            yield load
        finally:
            load.ended.set()
            for one in asking:
                one.result()


async def _asked_plainly(settings: ServiceSettings) -> list[httpx.Response]:
    """The answers of the service without Ray."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return [
                await client.request(method, path, json=body, headers={"X-Request-ID": "mine-1"})
                for method, path, body in ASKED
            ]


def _said(answer: httpx.Response) -> tuple[int, list[Any], str | None]:
    """Status, content without what time says, and the type."""
    lines = [json.loads(line) for line in answer.text.splitlines()]
    for line in lines:
        if isinstance(line, dict):
            for name in ("created", "seconds"):
                line.pop(name, None)
    return answer.status_code, lines, answer.headers["content-type"]


TWO = ReplicaOptions(min_replicas=2, cpus_per_replica=0.5)


@pytest.fixture(scope="class")
def two_replicas(there: There) -> None:
    """Two replicas with a short queue."""
    _deploy(TWO, max_queue_tokens=2_000)


@pytest.mark.usefixtures("two_replicas")
class TestTwoReplicas:
    """What holds of one deployment, whatever happened to it before."""

    def test_the_answers_are_those_of_the_plain_service(self, there: There) -> None:
        """In every dialect, refusals and streams too; and the caller's request id comes back once."""
        expected = asyncio.run(_asked_plainly(_settings()))

        with httpx.Client(base_url=there.base, timeout=WITHIN_S) as client:
            answers = [
                client.request(method, path, json=body, headers={"X-Request-ID": "mine-1"})
                for method, path, body in ASKED
            ]

        assert [_said(answer) for answer in answers] == [_said(answer) for answer in expected]
        assert {answer.headers["x-request-id"] for answer in answers} == {"mine-1"}

    def test_our_own_limits_decide(self, there: There) -> None:
        """A full queue is 429 with Retry-After, a large body 413, and both in the shape of our errors."""
        bodies = [_large() for _ in range(32)]
        with (
            ThreadPoolExecutor(16) as pool,
            httpx.Client(base_url=there.base, timeout=WITHIN_S) as client,
        ):
            answers = list(pool.map(lambda body: client.post("/rerank", json=body), bodies))
            too_large = client.post("/rerank", content=TOO_LARGE, headers=JSON)

        statuses = {answer.status_code for answer in answers}
        assert statuses == {200, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["error"]["type"] == "OverloadError"
        assert int(refused.headers["retry-after"]) >= 1
        assert too_large.status_code == 413
        assert too_large.json()["error"]["type"] == "BodyLimitError"

    def test_the_metrics_are_those_of_all_replicas(self, there: There) -> None:
        """Whichever replica is asked, and each sample says whose it is."""
        assert len(_replicas(there)) == 2
        text = httpx.get(f"{there.base}/metrics", timeout=WITHIN_S).text
        assert text.count("# TYPE pairscore_requests_total counter") == 1

    def test_a_client_that_leaves_cancels_its_request(self, there: There) -> None:
        """Nobody scores for who is gone."""
        # Late enough that it is being scored, early enough that it is not done, on whatever machine this is.
        patience_s = itertools.cycle((0.1, 0.2, 0.4, 0.8))

        def is_cancelled() -> bool:
            # Within the limit of pairs that the update leaves: the order of the tests is random.
            large, timeout = _large(num=700, repeats=150), next(patience_s)
            with suppress(httpx.TimeoutException):
                httpx.post(f"{there.base}/rerank", json=large, timeout=timeout)
            lines = httpx.get(f"{there.base}/metrics", timeout=WITHIN_S).text.splitlines()
            told = [line for line in lines if 'outcome="cancelled"' in line]
            return any(float(line.rpartition(" ")[2]) for line in told)

        _until(is_cancelled, "a cancelled request")

    def test_a_killed_replica_costs_no_answer(self, there: There) -> None:
        """SIGKILL under load: what was under way in it is asked again, and another replica takes its place."""
        before = _replicas(there)
        with _load(there, tries=5) as load:
            _until(lambda: load.answered > 20, "answers")
            os.kill(_pids()[0], signal.SIGKILL)
            _until(lambda: len(_replicas(there) - before) == 1, "a new replica")
            answered = load.answered
            _until(lambda: load.answered > answered + 20, "answers afterwards")

        assert load.failed == []

    def test_an_update_loses_no_request(self, there: There) -> None:
        """Other settings are rolled out under load; nobody tries twice, and nobody is refused."""
        before = _replicas(there)
        with _load(there) as load:
            _until(lambda: load.answered > 20, "answers")
            _deploy(TWO, max_queue_tokens=2_000, max_pairs=777)
            _until(lambda: _replicas(there).isdisjoint(before), "new replicas only")
            answered = load.answered
            _until(lambda: load.answered > answered + 20, "answers afterwards")

        assert load.failed == []
        info = httpx.get(f"{there.base}/info", timeout=WITHIN_S).json()
        assert info["limits"]["max_pairs"] == 777


def test_replicas_follow_the_queue(there: There) -> None:
    """One becomes two while tokens wait, and one again when they are gone."""
    options = ReplicaOptions(
        max_replicas=2,
        cpus_per_replica=0.5,
        target_queue_tokens=100,
        upscale_delay_s=0.2,
        downscale_delay_s=1.0,
    )
    _deploy(options)
    assert len(_replicas(there)) == 1

    with _load(there, make=_large):
        _until(lambda: len(_replicas(there)) == 2, "two replicas")

    _until(lambda: len(_replicas(there)) == 1, "one replica again")


class Breakable(OnlyReplica):
    """A replica whose model can be taken away."""

    async def break_it(self) -> None:
        fleet = self._parts.runtime.fleet
        await fleet.unload(fleet.default)


def test_a_replica_that_is_not_ready_is_replaced(there: There) -> None:
    """Its process lives and answers; what `/readyz` says is what counts."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    broken = serve.deployment(
        serve.ingress()(Breakable), name="breakable", health_check_period_s=0.3
    )
    serving.deploy(broken.bind(_settings()))
    (before,) = _replicas(there)

    serve.get_deployment_handle("breakable", "pairscore").break_it.remote().result()

    _until(lambda: before not in _replicas(there), "another replica")
    assert httpx.get(f"{there.base}/readyz", timeout=WITHIN_S).json()["ready"] is True


def test_each_model_has_its_own_deployment(there: There) -> None:
    """A request goes to the replicas of the model that it names, by body, header or path; the rest to the default."""
    _deploy(model=["one=ms-marco-minilm-l12", "two=ms-marco-minilm-l12"], model_aliases="first")
    with httpx.Client(base_url=there.base, timeout=WITHIN_S) as client:
        by_body = [
            client.post("/rerank", json={**RANKING, "model": name}).headers["x-pairscore-model"]
            for name in ("one", "first", "two")
        ]
        by_header = client.post("/rerank", json=RANKING, headers={"X-Pairscore-Model": "two"})
        by_path = client.get("/v1/models/two")
        unnamed = client.post("/score", json=PAIR)
        unknown = client.post("/rerank", json={**RANKING, "model": "three"})
        stream = client.post("/v1/rerank/batch", json={**BATCH, "model": "two"})
        too_large = client.post("/rerank", content=TOO_LARGE, headers=JSON)
        listed = client.get("/v1/models").json()["data"]
        info = client.get("/info").json()
        ready = client.get("/readyz")
        numbers = client.get("/metrics").text

    assert by_body == ["one", "one", "two"]
    assert by_header.headers["x-pairscore-model"] == "two"
    assert by_path.json()["id"] == "two"
    assert unnamed.headers["x-pairscore-model"] == "one"
    assert unknown.status_code == 404
    assert unknown.json()["error"]["type"] == "ModelUnknownError"
    assert [json.loads(line).get("model") for line in stream.text.splitlines()] == ["two"] * 3 + [
        None
    ]
    assert too_large.status_code == 413
    assert [entry["id"] for entry in listed] == ["one", "first", "two"]
    assert [model["name"] for model in info["models"]] == ["one", "two"]
    assert (ready.status_code, ready.json()["checks"]["model two"]) == (200, "ok")
    assert {'deployment="one"', 'deployment="two"'} <= {
        part for line in numbers.splitlines() for part in line.replace("}", ",").split(",")
    }


def test_the_file_for_serve_deploy_is_right(there: There) -> None:
    """`deploy/ray/serve.yaml` is what Serve reads, and its application serves."""
    content = yaml.safe_load((ROOT / "deploy/ray/serve.yaml").read_text("utf-8"))
    schema = ServeDeploySchema.model_validate(content)
    (described,) = schema.applications
    module, _, name = described.import_path.partition(":")
    assert (module, name) == (serving.__name__, serving.app.__name__)
    # This machine has fewer cores than the file's nodes.
    args = described.args | {"replicas": {**described.args["replicas"], "cpus_per_replica": 0.5}}

    serving.deploy(serving.app(args))

    answer = httpx.post(f"{there.base}/rerank", json=RANKING, timeout=WITHIN_S)
    assert answer.status_code == 200
    assert len(_replicas(there)) == described.args["replicas"]["min_replicas"]


def test_a_proxy_that_died_is_no_failure_if_another_listens(
    there: There, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ray ends a proxy that starts slowly, and raises while it starts the next one."""

    def killed(**_: Any) -> None:
        raise ray.exceptions.RayError("The actor died.\nIt was killed by `ray.kill`.")

    monkeypatch.setattr(serve, "start", killed)

    proxies.start(_settings(port=there.port), was_there=True)

    (said,) = caplog.messages
    assert said == "a proxy of Ray Serve did not start, and is tried again: The actor died."


def test_proxies_that_never_listen_are_an_error(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which says in which state they are, and where to look."""
    monkeypatch.setattr(proxies, "_LISTENS_WITHIN_S", 0.0)
    status = ServeStatus(proxies={"one": ProxyStatus.STARTING, "two": ProxyStatus.UNHEALTHY})
    monkeypatch.setattr(serve, "status", lambda: status)
    settings = _settings(port=there.port)

    with pytest.raises(WorkerError, match=r"STARTING, UNHEALTHY\); look into serve/proxy_\*\.log"):
        proxies.start(settings, was_there=True)
    proxies.start(settings, was_there=True, stopped=lambda: True)


def test_an_address_that_is_refused_leaves_what_is_there(there: There, tmp_path: Path) -> None:
    """Serve listens on another port, and somebody's application runs."""
    _deploy()

    with _command(there, tmp_path, "--port", str(free_port())) as process:
        code = process.wait(WITHIN_S)

    assert code == 2, (tmp_path / "log").read_text()
    assert serve.status().applications["pairscore"].status == "RUNNING"


def test_the_command_serves_until_it_is_told_to_end(there: There, tmp_path: Path) -> None:
    """With the model inside the package: its scores are the plain service's; SIGTERM removes what was deployed."""
    settings = ServiceSettings(compare_encoder="none")
    (expected,) = [
        answer
        for answer, (_, path, _) in zip(asyncio.run(_asked_plainly(settings)), ASKED, strict=True)
        if path == "/score"
    ]
    with _command(there, tmp_path, "--compare-encoder", "none") as process:
        _until(lambda: b"pairscore on http" in (tmp_path / "log").read_bytes(), "a start")
        answer = httpx.post(f"{there.base}/score", json=PAIR, timeout=WITHIN_S)
        process.send_signal(signal.SIGTERM)
        code = process.wait(WITHIN_S)

    assert answer.json()["score"] == pytest.approx(expected.json()["score"], abs=1e-4)
    assert code == 0, (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert "pairscore" not in serve.status().applications


def test_a_model_that_cannot_be_opened_is_an_error_of_ours(there: There, tmp_path: Path) -> None:
    """One line and an exit code, not a wall of Ray's text."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")

    with _command(there, tmp_path, "--model", str(tmp_path / "broken")) as process:
        code = process.wait(WITHIN_S)

    log = (tmp_path / "log").read_text()
    assert code == 78, log
    assert "pairscore: error: " in log
    assert "holds no model.onnx" in log
    assert "Traceback" not in log
    assert len(log.splitlines()) <= 3, log


@contextmanager
def _command(there: There, folder: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "pairscore", "serve", "--ray", there.address]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(there.port), "--cpus-per-replica", "0.5", *more],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
