"""`pairscore keys`: what is printed where, what is written, and what a crash leaves behind."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from pairscore.cli import keys
from pairscore.cli.main import Door
from pairscore.service.key_files import parse_file, parse_string
from pairscore.service.keys import KeyRing

KEY = re.compile(r"psk_[A-Za-z0-9_-]{43}")

# The command line's own door around this one verb.
root = typer.Typer(cls=Door, pretty_exceptions_enable=False)
root.add_typer(keys.app, name="keys")


@root.callback()
def _options() -> None:
    """The verb keeps its name."""


def _run(*args: object) -> Result:
    return CliRunner().invoke(root, ["keys", *(str(arg) for arg in args)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys file will be; nothing else is in its folder."""
    return tmp_path / "keys.toml"


def _new(path: Path, name: str, *more: object) -> str:
    result = _run("new", name, "--file", path, *more)
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


def _files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def _names(path: Path) -> list[str]:
    return [key.name for key in parse_file(path.read_text(encoding="utf-8"), where="x")]


def test_a_new_key_opens_the_service(path: Path) -> None:
    """The key stands on standard output alone; the file has its hash, and the note names the rest."""
    result = _run(
        "new", "a.team", "--file", path, "--requests-per-minute", 5, "--tokens-per-minute", 7
    )

    assert result.exit_code == 0
    secret = result.stdout.removesuffix("\n")
    assert KEY.fullmatch(secret)
    entry = KeyRing(keys_file=path).find(secret.encode())
    assert entry is not None
    assert entry.key.name == "a.team"
    assert entry.key.created is not None
    assert (entry.key.quota.requests_per_minute, entry.key.quota.tokens_per_minute) == (5, 7)
    assert secret not in result.stderr
    assert secret not in path.read_text(encoding="utf-8")
    for part in ("only time", str(path), "'a.team'", "kill -HUP"):
        assert part in result.stderr


def test_without_a_file_both_forms_are_shown() -> None:
    """The key on standard output; on standard error the lines for the file and the environment."""
    result = _run("new", "a.team", "--requests-per-minute", 5)

    assert result.exit_code == 0
    secret = result.stdout.removesuffix("\n")
    assert KEY.fullmatch(secret)
    assert secret not in result.stderr
    block = result.stderr[result.stderr.index("[keys.") : result.stderr.index("\n\nor,")]
    (key,) = parse_file(block, where="x")
    (plain,) = parse_string(result.stderr.splitlines()[-1])
    assert key.digest == plain.digest == hashlib.sha256(secret.encode()).digest()
    assert key.name == plain.name == "a.team"
    assert key.quota.requests_per_minute == 5
    for part in ("--keys-file", "PAIRSCORE_KEYS_FILE", "PAIRSCORE_API_KEYS"):
        assert part in result.stderr


def test_every_key_is_another_one(path: Path) -> None:
    """And all of them stay in the file."""
    made = {_new(path, f"k{n}") for n in range(5)}

    assert len(made) == 5
    assert _names(path) == [f"k{n}" for n in range(5)]


def test_the_list_tells_all_but_the_key(path: Path) -> None:
    """For people and for machines; neither shows a hash."""
    secret = _new(path, "first", "--requests-per-minute", 6000)
    _new(path, "second")
    _run("revoke", "second", "--file", path)

    readable = _run("list", "--file", path)
    machine = _run("list", "--file", path, "--json")

    rows = [line.split() for line in readable.stdout.splitlines() if line.strip()]
    assert [row[:2] for row in rows[2:]] == [["first", "active"], ["second", "revoked"]]
    assert "6,000" in rows[2]
    facts = json.loads(machine.stdout)
    assert [fact["name"] for fact in facts] == ["first", "second"]
    assert [fact["revoked"] for fact in facts] == [False, True]
    assert facts[0]["requests_per_minute"] == 6000
    assert facts[0]["tokens_per_minute"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", facts[0]["created"])
    digest = hashlib.sha256(secret.encode()).hexdigest()
    assert digest not in readable.stdout + machine.stdout


def test_an_empty_file_lists_nothing(path: Path) -> None:
    """No error: there is nothing wrong with it."""
    path.write_text("# soon\n", encoding="utf-8")

    assert _run("list", "--file", path).exit_code == 0
    assert json.loads(_run("list", "--file", path, "--json").stdout) == []


def test_revoking_keeps_the_file_as_it_was(path: Path) -> None:
    """One line more; a second time nothing happens."""
    _new(path, "a")
    before = f"# Ann asks for these\n{path.read_text(encoding='utf-8')}\n# the end\n"
    path.write_text(before, encoding="utf-8")

    first = _run("revoke", "a", "--file", path)
    after = path.read_text(encoding="utf-8")
    second = _run("revoke", "a", "--file", path)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout == second.stdout == ""
    assert after.replace("revoked = true\n", "") == before
    assert tomllib.loads(after)["keys"]["a"]["revoked"] is True
    assert "kill -HUP" in first.stderr
    assert "already" in second.stderr
    assert path.read_text(encoding="utf-8") == after


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        (["new", "taken", "--file", "{}"], 2, "has a key 'taken' already"),
        (["new", "a b", "--file", "{}"], 2, "1 to 64 letters"),
        (["new", "psk_abcdefgh", "--file", "{}"], 2, "does not begin with psk_"),
        (["new", "a b"], 2, "1 to 64 letters"),
        (["new", "x", "--requests-per-minute", "0"], 2, "--requests-per-minute"),
        (["new", "x", "--tokens-per-minute", str(10**13), "--file", "{}"], 2, "tokens_per_minute"),
        (["new", "x", "--file", "{}.d/keys.toml"], 73, "mkdir"),
        (["new", "x", "--file", "{}/.."], 73, "folder"),
        (["new", "x", "--file", "pipe"], 73, "no file that can be replaced"),
        (["new", "x", "--file", "-"], 73, "no file that can be replaced"),
        (["revoke", "nobody", "--file", "{}"], 2, "it has taken"),
        (["revoke", "taken", "--file", "{}.missing"], 66, "there is no file"),
        (["revoke", "taken"], 2, "--file"),
        (["list", "--file", "{}.missing"], 66, "there is no file"),
        (["list"], 2, "--file"),
        (["new"], 2, "NAME"),
    ],
)
def test_each_mistake_has_its_code_and_its_remedy(
    path: Path, args: list[str], code: int, part: str
) -> None:
    """Nothing is printed on standard output, and nothing is written."""
    _new(path, "taken")
    before = path.read_bytes()
    # Stands for a device: root could replace /dev/null by mistake.
    os.mkfifo(path.parent / "pipe")

    result = _run(
        *[arg.replace("{}", str(path)).replace("pipe", str(path.parent / "pipe")) for arg in args]
    )

    assert result.exit_code == code, result.output
    assert part in result.stderr
    assert result.stdout == ""
    assert "psk_abcdefgh" not in result.output
    assert path.read_bytes() == before
    assert _files(path.parent) == [path.name, "pipe"]
    assert (path.parent / "pipe").is_fifo()


@pytest.mark.parametrize("verb", ["new", "list", "revoke"])
@pytest.mark.parametrize(
    ("content", "code", "part"),
    [(b"[keys.a\n", 2, "line 1"), (b"\xff\n", 66, "not UTF-8"), (b"x = 1\n", 2, "not known")],
)
def test_a_broken_file_is_left_alone(
    path: Path, verb: str, content: bytes, code: int, part: str
) -> None:
    """A person must look at it first."""
    path.write_bytes(content)

    result = _run(verb, *([] if verb == "list" else ["a"]), "--file", path)

    assert result.exit_code == code, result.output
    assert part in result.stderr
    assert str(path) in result.stderr
    assert path.read_bytes() == content


class TestWriting:
    """The file is replaced in one step, by nobody else at the same time, and stays whose it was."""

    @pytest.fixture(autouse=True)
    def _open_umask(self) -> Any:
        """A careless shell."""
        before = os.umask(0)
        yield
        os.umask(before)

    def test_a_new_file_is_private(self, path: Path) -> None:
        """Whatever the umask is."""
        _new(path, "a")

        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
    def test_an_old_file_keeps_its_mode(self, path: Path, mode: int) -> None:
        """The service, in another group, must still read it."""
        _new(path, "a")
        path.chmod(mode)

        _new(path, "b")
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert _run("revoke", "a", "--file", path).exit_code == 0
        assert stat.S_IMODE(path.stat().st_mode) == mode

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
    def test_an_old_file_keeps_its_owner(self, path: Path) -> None:
        """Root edits the file of the service's user."""
        _new(path, "a")
        os.chown(path, 12345, 54321)

        _new(path, "b")

        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)

    def test_an_owner_that_cannot_be_kept(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Better no change than a file that the service cannot read."""
        _new(path, "a")
        before = path.read_bytes()
        real = Path.stat

        def stranger(self: Path, **options: Any) -> Any:
            found = real(self, **options)
            return os.stat_result((*found[:4], 12345, *found[5:])) if self == path else found

        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(Path, "stat", stranger)
        monkeypatch.setattr(keys.os, "chown", refuse)
        result = _run("new", "b", "--file", path)

        assert result.exit_code == 73
        assert "nothing was changed" in result.stderr
        assert result.stdout == ""
        assert path.read_bytes() == before
        assert _files(path.parent) == [path.name]

    def test_a_link_stays_a_link(self, path: Path, tmp_path: Path) -> None:
        """The file that it names is replaced."""
        folder = tmp_path / "real"
        folder.mkdir()
        target = folder / "keys.toml"
        path.symlink_to(target)

        _new(path, "a")
        _new(path, "b")

        assert path.is_symlink()
        assert _names(target) == ["a", "b"]
        assert _files(folder) == ["keys.toml"]

    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_failure_leaves_the_old_file(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
    ) -> None:
        """A full disk or Ctrl-C before the last step: the old file stands, and no draft is left."""
        _new(path, "a")
        before = path.read_bytes()

        def fail(*_: object) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(*((keys.os, "fsync") if step == "fsync" else (Path, "replace")), fail)
            results = [_run("new", "b", "--file", path), _run("revoke", "a", "--file", path)]

        for result in results:
            assert result.exit_code == (73 if isinstance(error, OSError) else 130)
            assert result.stdout == ""
        assert path.read_bytes() == before
        assert _files(path.parent) == [path.name]
        _new(path, "b")
        assert _names(path) == ["a", "b"]

    def test_a_crash_leaves_the_old_file(self, path: Path) -> None:
        """The process dies between writing and replacing; the next one is not held up by it."""
        _new(path, "a")
        before = path.read_bytes()
        code = (
            "import os, sys; from pathlib import Path; from pairscore.cli import keys\n"
            "Path.replace = lambda *_: os._exit(9)\n"
            "keys.new('b', file=sys.argv[1])"
        )

        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], check=False, capture_output=True, timeout=60
        )

        assert (done.returncode, done.stdout) == (9, b"")
        assert path.read_bytes() == before
        _new(path, "b")
        assert _names(path) == ["a", "b"]

    def test_what_is_replaced_is_on_the_disk_first(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Synced, then renamed, then the folder synced; else a power cut could leave an empty file."""
        steps: list[str] = []
        fsync, replace = os.fsync, Path.replace

        def spy_sync(number: int) -> None:
            steps.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
            fsync(number)

        def spy_replace(self: Path, target: Path) -> Path:
            steps.append("replace")
            assert self.parent == target.parent
            return replace(self, target)

        monkeypatch.setattr(keys.os, "fsync", spy_sync)
        monkeypatch.setattr(Path, "replace", spy_replace)
        _new(path, "a")

        assert steps == ["file", "replace", "folder"]

    def test_nobody_overwrites_somebody_elses_key(self, path: Path) -> None:
        """Eight at once, each reading, adding and replacing: none of the keys is lost."""
        with ThreadPoolExecutor(8) as pool:
            made = [pool.submit(keys.new, f"k{n}", file=str(path)) for n in range(24)]
            for future in made:
                future.result()

        assert sorted(_names(path)) == sorted(f"k{n}" for n in range(24))

    def test_a_lock_is_not_waited_for_for_ever(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stopped process may hold it."""
        monkeypatch.setattr(keys, "_LOCK_S", 0.05)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            result = _run("new", "a", "--file", path)
        finally:
            os.close(folder)

        assert result.exit_code == 73
        assert "another process" in result.stderr
        _new(path, "a")


@pytest.mark.parametrize("args", [[], ["new"], ["list"], ["revoke"]])
def test_help_tells_how(args: list[str]) -> None:
    """Each page has an example, and no markup that was not understood."""
    result = _run(*args, "--help")

    assert result.exit_code == 0
    assert "pairscore keys" in result.stdout
    assert "\\[" not in result.stdout
