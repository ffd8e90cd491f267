"""The first minutes with the installed command: alone, the demo, on a terminal and in a pipe, and what shells complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="terminals of POSIX")

PAIRSCORE = Path(sys.executable).parent / "pairscore"
ROOT = Path(__file__).parents[2]
HEAVY = {
    *("torch", "transformers", "onnxruntime", "tokenizers", "numpy", "fastapi", "pydantic"),
    *("pyarrow", "huggingface_hub", "rich.progress"),
}
STYLE = re.compile(r"\x1b\[[0-9;]*m")
COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])[0-9;]*m")


def _env(**more: str) -> dict[str, str]:
    plain = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")
    }
    path = f"{PAIRSCORE.parent}{os.pathsep}{plain.get('PATH', '')}"
    return {**plain, "PATH": path, "HF_HUB_OFFLINE": "1", "TERM": "xterm-256color", **more}


def _run(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PAIRSCORE, *map(str, args)],
        check=False,
        capture_output=True,
        encoding="utf-8",
        env=_env(**env),
        timeout=100,
    )


def _on_terminal(*args: str, **env: str) -> str:
    """Everything that a terminal gets to see."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [PAIRSCORE, *args], stdin=follower, stdout=follower, stderr=follower, env=_env(**env)
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 1 << 16)
        except OSError:  # the last one that could write has gone
            break
        if not part:
            break
        seen += part
    os.close(leader)
    assert process.wait(timeout=60) in (0, 2)
    return seen.decode("utf-8")


def test_the_command_alone_loads_nothing_heavy() -> None:
    """It answers at once, and says what can be done."""
    code = (
        "import sys; from pairscore.cli.main import app\n"
        "try: app([])\n"
        "except SystemExit as end: assert not end.code\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8", timeout=60
    )

    assert result.stderr.strip() == "[]"
    assert "pairscore demo" in result.stdout


def test_the_demo_runs_on_the_models_inside_the_package() -> None:
    """The passage that answers each query comes first, wherever counting words has put it."""
    result = _run("demo", "--json", "--quiet")

    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    found = json.loads(result.stdout)
    best = {one["query"]: one["results"][0] for one in found["rankings"]}
    assert "3.7 million" in best["How many people live in Berlin?"]["text"]
    assert "scatter" in best["Why is the sky blue?"]["text"]
    assert "cancel a purchase" in best["How can I cancel my order?"]["text"]
    assert any(one["rank_before"] > 2 for one in best.values())
    gaps = {True: [], False: []}
    for pair in found["pairs"]:
        gaps[pair["related"]].append(pair["similarity"])
    assert min(gaps[True]) > max(gaps[False])


@pytest.mark.slow
def test_a_terminal_gets_colours_unless_they_are_switched_off() -> None:
    """NO_COLOR takes the colours, a dumb terminal gets no code at all."""
    demo = ("demo", "--backend", "fake")

    assert COLOUR.search(_on_terminal(*demo))
    assert not COLOUR.search(_on_terminal(*demo, NO_COLOR="1"))
    assert "\x1b" not in _on_terminal(*demo, TERM="dumb")


@pytest.mark.slow
def test_a_pipe_gets_no_colours_unless_they_are_forced() -> None:
    """FORCE_COLOR is for a pager that shows them; NO_COLOR wins, and JSON has none in any case."""
    demo = ("demo", "--backend", "fake")

    assert not STYLE.search(_run(*demo).stdout)
    assert COLOUR.search(_run(*demo, FORCE_COLOR="1").stdout)
    assert not COLOUR.search(_run(*demo, FORCE_COLOR="1", NO_COLOR="1").stdout)
    assert json.loads(_run(*demo, "--json", FORCE_COLOR="1").stdout)


@pytest.mark.parametrize("args", [("--help",), ("rnak",), ("score", "--help")])
@pytest.mark.slow
def test_help_and_mistakes_follow_the_same_rules(args: tuple[str, ...]) -> None:
    """Colours on a terminal, none in a pipe, none where they are switched off."""
    assert COLOUR.search(_on_terminal(*args))
    assert not COLOUR.search(_on_terminal(*args, NO_COLOR="1"))
    result = _run(*args)
    assert "\x1b" not in result.stdout + result.stderr


@pytest.mark.slow
def test_a_slow_file_shows_a_bar_with_its_rate(tmp_path: Path) -> None:
    """On a terminal, once it takes two seconds; the bar is taken away at the end."""
    source = tmp_path / "in.csv"
    row = "berlin," + "some words about the town of berlin " * 8 + "\n"
    source.write_text("query,document\n" + row * 600, encoding="utf-8")
    args = ("score", "-i", str(source), "-o", str(tmp_path / "out.csv"), "--num-workers", "1")

    shown = _on_terminal(*args, COLUMNS="120")

    assert re.search(r"[\d,]+ pairs  .*[\d.]+ pairs/s", shown)
    assert "\x1b[2K" in shown.rpartition("pairs/s")[2]
    assert "done: 600 rows" in shown


def _completed(*words: str, home: Path, folder: Path) -> set[str]:
    """What bash offers for the last word, by the function that was installed for it."""
    script = (
        f"source {home}/.bash_completions/pairscore.sh\n"
        "COMP_WORDS=(" + " ".join(f"'{word}'" for word in words) + ")\n"
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
        'spec=$(complete -p pairscore); function=${spec#*-F }; "${function%% *}" pairscore\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        [shutil.which("bash") or "bash", "--norc", "-c", script],
        check=True,
        capture_output=True,
        encoding="utf-8",
        env=_env(HOME=str(home)),
        cwd=folder,
        timeout=60,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which completion was installed from a bash."""
    folder = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        # Two commands, so that bash stays the parent.
        [shutil.which("bash") or "bash", "--norc", "-c", "pairscore --install-completion; exit $?"],
        check=False,
        capture_output=True,
        encoding="utf-8",
        env=_env(HOME=str(folder)),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("pairscore", "ra"), {"rank"}),
        (("pairscore", "models", "s"), {"show"}),
        (("pairscore", "rank", "--top"), {"--top-k"}),
        (("pairscore", "score", "--backend", "o"), {"onnx", "openvino"}),
        (("pairscore", "score", "--model", "st"), {"sts-minilm", "stsb-roberta-large"}),
        (("pairscore", "search", "--encoder", "a"), {"all-minilm-l6"}),
        (("pairscore", "score", "--model", "my-"), {"my-model"}),
        (("pairscore", "models", "show", "all"), {"all-minilm-l6"}),
        (("pairscore", "serve", "--log-f"), {"--log-format"}),
        (("pairscore", "serve", "--log-format", "j"), {"json"}),
    ],
)
@pytest.mark.slow
def test_bash_completes(
    words: tuple[str, ...], offered: set[str], home: Path, tmp_path: Path
) -> None:
    """Verbs, verbs of a group, options, values, and models: known ones and folders here."""
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "config.json").write_text("{}", encoding="utf-8")

    assert _completed(*words, home=home, folder=tmp_path) == offered


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.slow
def test_bash_completes_files_by_itself(home: Path, tmp_path: Path) -> None:
    """Where an argument is a file nothing is offered, and bash was told to offer files then."""
    assert _completed("pairscore", "rank", "q", "", home=home, folder=tmp_path) == set()
    assert _completed("pairscore", "score", "--input", "", home=home, folder=tmp_path) == set()
    installed = (home / ".bash_completions" / "pairscore.sh").read_text(encoding="utf-8")
    assert "complete -o default" in installed
    assert "pairscore.sh" in (home / ".bashrc").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("shell", "place", "asked"),
    [
        ("zsh", ".zfunc/_pairscore", {"_TYPER_COMPLETE_ARGS": "pairscore ra"}),
        (
            "fish",
            ".config/fish/completions/pairscore.fish",
            {"_TYPER_COMPLETE_ARGS": "pairscore ra", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
        ),
    ],
)
@pytest.mark.slow
def test_other_shells_are_given_a_script_that_asks_us(
    shell: str, place: str, asked: dict[str, str], tmp_path: Path
) -> None:
    """It is installed where the shell looks, and what it asks is answered."""
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    installed = _run("--install-completion", shell, **named)
    shown = _run("--show-completion", shell, **named)
    answered = _run(_PAIRSCORE_COMPLETE=f"complete_{shell}", **asked)

    assert installed.returncode == 0, installed.stderr
    script = (tmp_path / place).read_text(encoding="utf-8")
    assert script.strip() == shown.stdout.strip()
    assert f"_PAIRSCORE_COMPLETE=complete_{shell}" in script
    assert answered.returncode == 0
    assert "rank" in answered.stdout
    assert "score" not in answered.stdout.split()


@pytest.mark.skipif(not (ROOT / "Makefile").is_file(), reason="the package alone")
def test_make_demo_ends_with_where_the_page_is() -> None:
    """It runs the demo, and its last line sends to the page."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = text.partition("\ndemo:")[2].partition("\n\n")[0].splitlines()

    assert any(line.strip().endswith("pairscore demo") for line in recipe)
    assert "make serve" in recipe[-1]
    assert "http://127.0.0.1:8000/" in recipe[-1]
