"""The command line's table of contents: one command a function, one module a family."""

from __future__ import annotations

import typer

from hedonic.cli.alerts import alerts
from hedonic.cli.approve import approve, reject
from hedonic.cli.backup import backup, restore
from hedonic.cli.bento import bento
from hedonic.cli.deploy import deploy
from hedonic.cli.doctor import doctor
from hedonic.cli.environment import env
from hedonic.cli.explain_cache import explain_cache
from hedonic.cli.explain_decision import explain_decision
from hedonic.cli.forget import forget, purge
from hedonic.cli.gc import gc
from hedonic.cli.history import history, what_served
from hedonic.cli.image import image
from hedonic.cli.predict import predict
from hedonic.cli.pull import pull
from hedonic.cli.reproduce import reproduce
from hedonic.cli.rollback import rollback
from hedonic.cli.run import run
from hedonic.cli.score import score
from hedonic.cli.serve import down, serve
from hedonic.cli.status import status
from hedonic.cli.task import task
from hedonic.cli.trace import trace
from hedonic.cli.traffic import traffic
from hedonic.cli.up import logs, up
from hedonic.cli.verify import verify

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The self-hosted factory for price models: checks, tunes, gates, releases and serves them.",
)
for command in (
    up, down, status, logs, alerts, run, explain_cache, task, serve, rollback, predict, score, traffic,
    trace, explain_decision, reproduce, approve, reject, history, what_served, image, deploy, pull, bento,
    verify, gc, backup, restore, forget, purge, doctor, env,
):  # fmt: skip
    app.command()(command)
