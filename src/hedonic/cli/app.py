"""The command line's table of contents: one command a function, one module a family."""

from __future__ import annotations

import typer

from hedonic.cli.doctor import doctor
from hedonic.cli.environment import env
from hedonic.cli.predict import predict
from hedonic.cli.run import run
from hedonic.cli.serve import down, serve
from hedonic.cli.status import status

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The self-hosted factory for price models: checks, tunes, gates, releases and serves them.",
)
for command in (run, serve, down, predict, status, doctor, env):
    app.command()(command)
