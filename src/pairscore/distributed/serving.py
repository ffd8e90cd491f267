"""`pairscore serve --ray`: the service as an application of Ray Serve.

One model is one deployment of `Replica`; several are one deployment each behind a `Gateway`. Ray Serve starts,
watches, updates and ends the replicas; what a request is answered, and when it is refused, is the service's own.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from ray import serve
from ray.exceptions import RayError
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, BackpressureConfig
from ray.serve.exceptions import RayServeException

from pairscore.distributed import proxies
from pairscore.distributed.cluster import connected
from pairscore.distributed.failing import failure_in, summary
from pairscore.distributed.gateway import Gateway
from pairscore.distributed.replica import OneOfSeveral, OnlyReplica
from pairscore.distributed.scaling import QueueTokens, ReplicaOptions
from pairscore.distributed.spreading import APP_NAME, GATEWAY, Deployed, deployments_of
from pairscore.errors import SettingError, WorkerError
from pairscore.service import logs
from pairscore.service.check import check
from pairscore.service.settings import ServiceSettings
from pairscore.signals import SignalWatch

__all__ = ["app", "application", "deploy", "serve_on_ray"]

_log = logging.getLogger("pairscore.service")

# The replicas tell their numbers so often, instead of every ten seconds: a queue grows faster than that.
_TELL_EACH_S: Final = 2.0
_LOOK_BACK_S: Final = 10.0
_HEALTH_EACH_S: Final = 5.0
# A replica whose model is not there is not there the second time either; a node that was short of memory may be.
_MAX_STARTS: Final = 3
_WAIT_LOOP_S: Final = 0.5
# Answers are still written, and the app closed, after the last request has ended.
_LAST_WORDS_S: Final = 5.0
_NUM_GATEWAYS: Final = 2
_POLL_S: Final = 0.2
_SAY_AFTER_S: Final = 20.0


def app(args: Mapping[str, Any]) -> Any:
    """The application that a config file of ``serve deploy`` names as ``pairscore.distributed.serving:app``.

    Args:
        args: `settings`, any of the service's as in its own file, and `replicas`, any of `ReplicaOptions`.

    Raises:
        SettingError: one of them makes no sense.
    """
    unknown = set(args) - {"settings", "replicas"}
    if unknown:
        raise SettingError(
            f"args has {', '.join(sorted(unknown))}; it takes settings and replicas, each with its own keys"
        )
    try:
        options = ReplicaOptions(**(args.get("replicas") or {}))
    except TypeError as error:
        raise SettingError(f"replicas: {error}; known are {', '.join(_OPTIONS)}") from error
    return application(ServiceSettings(**(args.get("settings") or {})), options)


_OPTIONS: Final = tuple(ReplicaOptions.__dataclass_fields__)


def application(settings: ServiceSettings, options: ReplicaOptions) -> Any:
    """The service as an application of Ray Serve, not deployed yet.

    Raises:
        SettingError: settings contradict each other, or have no meaning on a cluster.
        ModelNotFoundError: a model's name can be none.
        MissingExtraError: a setting needs a package that is not installed.
    """
    for warning in check(settings):
        _log.warning("%s", warning)
    deployed = deployments_of(settings, options)
    if len(deployed) == 1:
        return _replicas(serve.ingress()(OnlyReplica), deployed[0], options)
    bound = [_replicas(OneOfSeveral, one, options) for one in deployed]
    gateway = serve.deployment(
        serve.ingress()(Gateway),
        name=GATEWAY,
        num_replicas=_NUM_GATEWAYS,
        # It waits, and reads a name now and then.
        ray_actor_options={"num_cpus": 0},
        **_doors(settings),
    )
    return gateway.bind(settings, deployed, bound)


def serve_on_ray(
    settings: ServiceSettings, options: ReplicaOptions, *, address: str | None = None
) -> None:
    """Deploy the service, and stay until SIGTERM or SIGINT; what was deployed is then removed, requests answered first.

    A cluster, or a Serve, that was there before stays; one that was started here ends.

    Args:
        settings: of the service; host and port are those of Ray Serve's proxies.
        options: how many replicas, and how large.
        address: of the cluster, as for `connected`.

    Raises:
        SettingError: settings make no sense, or the address cannot be listened on.
        ModelError: a model cannot be found, fetched, verified or used.
    """
    logs.configure(level=settings.log_level, format=settings.log_format)
    # Its own progress; what goes wrong is raised.
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    made = application(settings, options)
    with _Ending() as ending, connected(address):
        was_there = proxies.are_there()
        # Refused, it must not remove what somebody else deployed.
        proxies.start(settings, was_there=was_there, stopped=ending.is_set)
        try:
            deploy(made, stopped=ending.is_set)
            if not ending.is_set():
                _log.info(
                    "pairscore on http://%s:%d, on a Ray cluster, docs at /docs",
                    f"[{settings.host}]" if ":" in settings.host else settings.host,
                    settings.port,
                )
                _stay(ending)
        finally:
            _remove(was_there=was_there)


def deploy(made: Any, *, stopped: Callable[[], bool] = lambda: False) -> None:
    """Deploy an application and wait until it serves; over one that is there it is a rolling update.

    Args:
        made: what `application` made.
        stopped: asked now and then; if it says yes, nobody waits any more.

    Raises:
        PairscoreError: the replicas' own, if they do not start.
    """
    try:
        serve.run_many(
            [serve.RunTarget(target=made, name=APP_NAME, route_prefix="/")],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )
    except (RayError, RayServeException) as error:
        # Another application may have the path, for one.
        raise failure_in(str(error)) from error
    begin, has_said = time.monotonic(), False
    while not stopped():
        status = _status()
        if status is not None and status.status == "RUNNING":
            return
        if status is not None and status.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise failure_in(_messages(status))
        if not has_said and time.monotonic() - begin > _SAY_AFTER_S:
            has_said = True
            _log.warning("still starting: %s", summary(_messages(status)))
        time.sleep(_POLL_S)


def _replicas(kind: Any, one: Deployed, options: ReplicaOptions) -> Any:
    """The deployment of one model."""
    deployment = serve.deployment(
        kind,
        name=one.name,
        ray_actor_options={
            "num_cpus": options.cpus_per_replica,
            "num_gpus": options.gpus_per_replica,
        },
        health_check_period_s=_HEALTH_EACH_S,
        max_constructor_retry_count=_MAX_STARTS,
        max_surge_percent=options.max_surge_percent,
        **_doors(one.settings),
        **_scale(options),
    )
    return deployment.bind(one.settings)


def _doors(settings: ServiceSettings) -> dict[str, Any]:
    """The limits that Ray Serve has too, so wide that the service's own decide."""
    return {
        "max_ongoing_requests": settings.max_connections,
        "max_queued_requests": settings.max_connections,
        "backpressure_config": BackpressureConfig(status_code=503, retry_after_s=1),
        "graceful_shutdown_wait_loop_s": _WAIT_LOOP_S,
        "graceful_shutdown_timeout_s": settings.grace_s + _LAST_WORDS_S,
    }


def _scale(options: ReplicaOptions) -> dict[str, Any]:
    """A fixed number of replicas, or one that follows the queues."""
    if options.is_fixed:
        return {"num_replicas": options.min_replicas}
    policy = AutoscalingPolicy(
        policy_function=QueueTokens,
        policy_kwargs={"target_queue_tokens": options.target_queue_tokens},
    )
    with warnings.catch_warnings():
        # Ray wants the interval in a variable of every process, and reads it here alone.
        warnings.simplefilter("ignore", DeprecationWarning)
        config = AutoscalingConfig(
            min_replicas=options.min_replicas,
            max_replicas=options.most,
            metrics_interval_s=_TELL_EACH_S,
            look_back_period_s=_LOOK_BACK_S,
            upscale_delay_s=options.upscale_delay_s,
            downscale_delay_s=options.downscale_delay_s,
            policy=policy,
        )
    return {"autoscaling_config": config}


def _remove(*, was_there: bool) -> None:
    """End what was deployed; of a cluster that is gone nothing is left to end."""
    with suppress(RayError, RayServeException):
        serve.delete(APP_NAME)
        if not was_there:
            serve.shutdown()


def _status() -> Any:
    """What Ray Serve says of the application; None if it knows none.

    Raises:
        WorkerError: the cluster is gone.
    """
    try:
        return serve.status().applications.get(APP_NAME)
    except (RayError, RayServeException) as error:
        raise WorkerError(
            f"the Ray cluster does not answer any more: {str(error).splitlines()[0]}; start it, and the service, again"
        ) from error


def _messages(status: Any) -> str:
    """What Ray says of an application and its deployments, the deployments last: they know more."""
    if status is None:
        return ""
    told = [status.message, *(one.message for one in status.deployments.values())]
    return "\n".join(text for text in told if text)


class _Ending(SignalWatch):
    """Set by the first signal; the second one waits for nothing any more."""

    def __init__(self) -> None:
        super().__init__()
        self._set = threading.Event()
        self.is_set = self._set.is_set
        self.wait = self._set.wait

    def on_signal(self, number: int) -> None:
        """Remember the first; end with the second."""
        if self._set.is_set():
            raise KeyboardInterrupt
        _log.info("signal %d: requests under way are answered, then the replicas end", number)
        self._set.set()


def _stay(ending: _Ending) -> None:
    """Wait for a signal; meanwhile say what changes."""
    known = "RUNNING"
    while not ending.wait(_HEALTH_EACH_S):
        status = _status()
        if status is None:
            raise WorkerError(
                "the application was removed from the cluster by somebody else; start it again, or deploy it with a "
                "config file, which needs nobody to stay"
            )
        if status.status != known:
            known = status.status
            _log.warning("the application is %s now: %s", known, summary(_messages(status)))
