"""`pairscore serve`: the HTTP service; its flags are made from the service's settings, which know them all."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from pairscore.cli import completion, output, serve_ray

if TYPE_CHECKING:
    from pairscore.service.fields import Setting

__all__ = ["HELP", "ServeCommand", "serve"]

HELP = """Serve scores over HTTP until Ctrl-C or SIGTERM; requests under way are answered first.

Every setting is a flag, an environment variable (PAIRSCORE_MAX_PAIRS) and a
key of the TOML file that --config names (max_pairs = 1000). A flag wins over a
variable, a variable over the file; --check shows what holds, and from where.
Interactive documentation: /docs

Examples:

  pairscore serve
  pairscore serve --host 0.0.0.0 --port 9000 --max-pairs 5000
  pairscore serve --model ms-marco-minilm-l12 --model german=./my-model
  pairscore serve --max-pairs 5000 --check > pairscore.toml
  pairscore serve --config pairscore.toml
  pairscore serve --ray --min-replicas 2 --max-replicas 8
  curl -s localhost:8000/score -H 'content-type: application/json' \\
       -d '{"text_a": "a question", "text_b": "an answer"}'

It needs the extra serve: pip install 'pairscore\\[serve]', with --ray the extra ray."""

_SHORT = {"model": "-m"}
_MODELS = {
    "model": completion.cross_encoders,
    "shadow_model": completion.cross_encoders,
    "bi_encoder": completion.encoders,
    "encoder": completion.encoders,
}


class ServeCommand(TyperCommand):
    """A verb whose options are made when they are first asked for.

    They come from the settings, and those from pydantic, which `pairscore --help` must not wait for.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, and `--help`."""
        self.params = self.params or _params()
        return super().get_params(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options, of which `--ray` may stand without a value."""
        return super().parse_args(ctx, serve_ray.with_address(args))

    def invoke(self, ctx: Any) -> None:
        """Serve; typer's own way knows only the options that were there when the verb was declared: none."""
        serve(ctx)


def serve(context: typer.Context) -> None:
    """Serve, or check the settings; `HELP` is what the user reads."""
    # None is "not given": a variable, the file or the default decides.
    given = {name: value for name, value in context.params.items() if value not in ([], ())}
    only_check, as_json, quiet = (given.pop(name) for name in ("check", "as_json", "quiet"))
    on_ray = serve_ray.taken(given)
    if as_json and given["log_format"] is None:
        given["log_format"] = "json"
    if quiet and given["log_level"] is None:
        given["log_level"] = "warning"
    # Here, because only this verb needs the service; its package names the extra if that is missing.
    from pairscore.service.settings import ServiceSettings

    settings = ServiceSettings(**given)
    if only_check:
        if on_ray.wanted:
            on_ray.check(settings)
        _check(settings, as_json=as_json, quiet=quiet)
        return
    if on_ray.wanted:
        on_ray.serve(settings)
        return
    if not (quiet or as_json):
        _say_where(settings)
    from pairscore.service.server import serve as serve_forever

    serve_forever(settings)


def _say_where(settings: Any) -> None:
    """Where a person finds what; the log says it again, with the port that was taken, once all is ready."""
    if not settings.port or not (sys.stderr.isatty() or settings.log_format == "text"):
        return
    # What listens on every address is reached from here on this one.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    base = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    output.note(f"the page: {base}/  its documentation: {base}/docs  metrics: {base}/metrics")


def _check(settings: Any, *, as_json: bool, quiet: bool) -> None:
    from pairscore.service.check import as_toml, check

    warnings = check(settings)
    if as_json:
        output.print_json({"settings": _facts(settings), "warnings": warnings})
        return
    output.say(as_toml(settings).rstrip())
    for warning in () if quiet else warnings:
        output.note(f"warning: {warning}")


def _facts(settings: Any) -> dict[str, Any]:
    """Each setting with its value, in which no key and no password is left, and where it came from."""
    from pairscore.service.settings import SETTINGS

    facts = {}
    for setting in SETTINGS:
        value = getattr(settings, setting.name)
        plain = str(value) if isinstance(value, Path) else value
        shown = None if value is None else setting.shown(plain)
        facts[setting.name] = {"value": shown, "source": settings.source(setting.name)}
    return facts


def _params() -> list[Any]:
    """What typer makes of a function with a parameter for each setting."""
    from pairscore.service.settings import SETTINGS

    def serve(**_given: Any) -> None: ...

    serve.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*_OWN, *map(_parameter, SETTINGS), *serve_ray.OPTIONS]
    )
    app = typer.Typer(add_completion=False)
    app.command()(serve)
    return typer.main.get_command(app).params


def _parameter(setting: Setting) -> inspect.Parameter:
    from pairscore.service.fields import flag, variable

    is_flag = setting.kind is bool
    name = f"{flag(setting.name)}/{flag(f'no_{setting.name}')}" if is_flag else flag(setting.name)
    option = typer.Option(
        name,
        *([_SHORT[setting.name]] if setting.name in _SHORT else []),
        metavar=setting.metavar,
        help=f"{setting.text} Without it: {variable(setting.name)}, else {setting.otherwise}.",
        rich_help_panel=str(setting.panel),
        autocompletion=_completed(setting),
    )
    # As a text: the settings check it, wherever it came from.
    kind: Any = bool if is_flag else list[str] if setting.several else str
    return _keyword(setting.name, Annotated[kind | None, option], default=None)


def _completed(setting: Setting) -> Callable[..., Any] | None:
    """What the shell offers as its value; None leaves it the files."""
    if setting.choices:
        return lambda: list(setting.choices)
    return _MODELS.get(setting.name)


def _keyword(name: str, annotation: Any, *, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


_OWN = (
    _keyword(
        "check",
        Annotated[
            bool,
            typer.Option(
                "--check",
                help="Print the settings and where each came from, as a TOML file for --config, and serve nothing. "
                "A contradiction ends it with exit code 2.",
            ),
        ],
        default=False,
    ),
    _keyword(
        "as_json",
        Annotated[
            bool,
            typer.Option(
                "--json",
                help="Log JSON objects, unless --log-format says otherwise; with --check print JSON.",
            ),
        ],
        default=False,
    ),
    _keyword(
        "quiet",
        Annotated[
            bool,
            typer.Option(
                "--quiet",
                "-q",
                help="Log warnings and errors only, unless --log-level says otherwise.",
            ),
        ],
        default=False,
    ),
)
