"""The files of deploy/ray say what the code takes; nothing here needs Ray."""

from __future__ import annotations

from typing import Any

import yaml
from tests.deploy_files import DEPLOY, read_yaml

from pairscore.distributed.scaling import ReplicaOptions
from pairscore.service.check import check
from pairscore.service.settings import ServiceSettings

SERVE: dict[str, Any] = read_yaml("ray/serve.yaml")


def test_kubernetes_gets_the_same_application() -> None:
    """The resource of KubeRay holds the file for `serve deploy`."""
    resource = read_yaml("ray/rayservice.yaml")

    assert yaml.safe_load(resource["spec"]["serveConfigV2"]) == SERVE


def test_its_arguments_are_taken() -> None:
    """Every key is one of the service's settings, or of the replicas' options."""
    (described,) = SERVE["applications"]

    settings = ServiceSettings(**described["args"]["settings"])

    check(settings)
    ReplicaOptions(**described["args"]["replicas"])
    assert set(described["args"]) == {"settings", "replicas"}
    # The proxies' own.
    assert {"host", "port"} <= set(SERVE["http_options"])
    assert not {"host", "port"} & set(described["args"]["settings"])


def test_a_worker_has_room_for_a_replica() -> None:
    """What a replica reserves is what a node of the Kubernetes cluster has."""
    resource = read_yaml("ray/rayservice.yaml")["spec"]["rayClusterConfig"]
    (described,) = SERVE["applications"]
    replicas = described["args"]["replicas"]

    (group,) = resource["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]

    assert int(container["resources"]["limits"]["cpu"]) >= replicas["cpus_per_replica"]
    assert group["minReplicas"] >= replicas["min_replicas"]
    assert group["maxReplicas"] >= replicas["max_replicas"]
    assert (DEPLOY / "ray" / "serve.yaml").is_file()
