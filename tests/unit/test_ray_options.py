"""What `pairscore serve --ray` takes on the command line; nothing here needs Ray."""

from __future__ import annotations

import pytest

from pairscore.cli.serve_ray import OPTIONS, RayOptions, taken, with_address
from pairscore.errors import SettingError


@pytest.mark.parametrize(
    ("args", "read"),
    [
        (["--ray"], ["--ray="]),
        (["--ray", "--port", "1"], ["--ray=", "--port", "1"]),
        (["--ray", "host:6379", "--quiet"], ["--ray", "host:6379", "--quiet"]),
        (["--ray=host:6379"], ["--ray=host:6379"]),
        (["--port", "1"], ["--port", "1"]),
    ],
)
def test_the_address_may_be_left_out(args: list[str], read: list[str]) -> None:
    """What follows `--ray` is its address unless it is an option."""
    assert with_address(args) == read


def test_a_cluster_is_wanted_only_if_it_is_asked_for() -> None:
    """An empty address is one that Ray finds itself."""
    assert RayOptions({"ray": ""}).wanted
    assert not RayOptions({"ray": None, "min_replicas": None}).wanted


def test_the_clusters_options_need_the_cluster() -> None:
    """They would silently do nothing."""
    with pytest.raises(SettingError, match=r"--min-replicas, --gpus-per-replica .* give --ray too"):
        RayOptions({"ray": None, "min_replicas": 2, "gpus_per_replica": 0.5})


def test_they_are_taken_out_of_the_settings() -> None:
    """What is left belongs to the service."""
    settings = {**dict.fromkeys(option.name for option in OPTIONS), "port": "1"}

    taken(settings)

    assert settings == {"port": "1"}
