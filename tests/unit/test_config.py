"""How many cores a process may use: its cpuset and its cgroup's quota count, not the machine's number."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairscore import config


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        (
            "0::/system.slice/pairscore.service\n",
            {
                "system.slice/pairscore.service/cpu.max": "max 100000\n",
                "system.slice/cpu.max": "400000 100000\n",
            },
            4.0,
        ),
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        (
            "4:memory:/x\n2:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
            {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        (
            "1:cpu:/\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
        ("", {"cpu.max": "100000 100000\n"}, None),
        ("0::/../outside\n", {"cpu.max": "100000 100000\n"}, 1.0),
    ],
)
def test_the_least_quota_of_all_levels_counts(
    tmp_path: Path, membership: str, files: dict[str, str], expected: float | None
) -> None:
    """Version 1 or 2, with a namespace or without; no quota, and a file that is not there, are none."""
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "cgroups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    assert config._cpu_quota(tmp_path / "membership", tmp_path / "cgroups") == expected


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (2.5, 2), (0.5, 1), (9.0, 4)])
def test_a_quota_is_rounded_down(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
) -> None:
    """A thread more than the quota pays for would stall all of them; one there must be."""
    monkeypatch.setattr(config.os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setattr(config, "_cpu_quota", lambda *_: quota)

    assert config.num_cores() == expected
