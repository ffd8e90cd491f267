"""`pairscore serve`: the HTTP service, with its settings as flags."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pairscore.cli import options

__all__ = ["HELP", "serve"]

HELP = """Serve scores over HTTP until Ctrl-C or SIGTERM; requests under way are answered first.

Every setting is also an environment variable: PAIRSCORE_ and the flag's name,
such as PAIRSCORE_MAX_PAIRS. A flag wins. Interactive documentation: /docs

Examples:

  pairscore serve
  pairscore serve --host 0.0.0.0 --port 9000 --max-pairs 5000
  curl -s localhost:8000/score -H 'content-type: application/json' \\
       -d '{"text_a": "a question", "text_b": "an answer"}'

It needs the extra serve: pip install 'pairscore\\[serve]'"""

_LIMITS = "Limits"
_OWN = "Without it: PAIRSCORE_{name}, else {default}."


def _whole(metavar: str, text: str, *, name: str, default: str, panel: str = _LIMITS) -> Any:
    """An option that is passed on only if it was given, so that the environment keeps its say."""
    return typer.Option(
        f"--{name.replace('_', '-')}",
        metavar=metavar,
        help=f"{text} {_OWN.format(name=name.upper(), default=default)}",
        rich_help_panel=panel,
        show_default=False,
    )


def serve(
    *,
    host: Annotated[
        str | None,
        typer.Option(
            help="The address to listen on; 0.0.0.0 for all. Without it: PAIRSCORE_HOST, else 127.0.0.1.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="The port; 0 takes a free one. Without it: PAIRSCORE_PORT, else 8000.",
            show_default=False,
        ),
    ] = None,
    model: options.ModelOption = None,
    backend: Annotated[
        options.BackendChoice | None,
        typer.Option(
            help="What runs the model; fake counts common words. "
            "Without it: PAIRSCORE_BACKEND, else onnx.",
            show_default=False,
        ),
    ] = None,
    max_pairs: Annotated[
        int | None, _whole("N", "Pairs in one request.", name="max_pairs", default="1,000")
    ] = None,
    max_chars: Annotated[
        int | None, _whole("CHARS", "Characters in one text.", name="max_chars", default="100,000")
    ] = None,
    max_body_bytes: Annotated[
        int | None,
        _whole("BYTES", "Bytes of one request's body.", name="max_body_bytes", default="32 MiB"),
    ] = None,
    num_workers: Annotated[
        int | None,
        _whole("N", "Threads that run the model.", name="num_workers", default="one for each core"),
    ] = None,
    max_length: Annotated[
        int | None,
        _whole("TOKENS", "Tokens of a pair.", name="max_length", default="the model's own"),
    ] = None,
    budget: Annotated[
        int | None,
        _whole("TOKENS", "Padded tokens that are run at once.", name="budget", default="512"),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="debug, info, warning or error. Without it: PAIRSCORE_LOG_LEVEL, else info.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve; `HELP` is what the user reads."""
    # None is "not given": the environment, or the default, decides.
    given = {
        "host": host,
        "port": port,
        "model": model,
        "backend": backend.value if backend is not None else None,
        "max_pairs": max_pairs,
        "max_chars": max_chars,
        "max_body_bytes": max_body_bytes,
        "num_workers": num_workers,
        "max_length": max_length,
        "budget": budget,
        "log_level": log_level.lower() if log_level is not None else None,
    }
    # Here, because only this verb needs the service; its package names the extra if that is missing.
    from pairscore.service.server import serve as serve_forever
    from pairscore.service.settings import ServiceSettings

    serve_forever(ServiceSettings(**given))
