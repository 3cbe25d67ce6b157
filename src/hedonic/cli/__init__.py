"""The front door: the command ``hedonic``. Nothing heavy is imported before the environment is set."""

from __future__ import annotations


def main() -> None:
    """Run the command line and leave with its exit code."""
    import os
    import sys

    from hedonic.cli.edge import run_command
    from hedonic.cli.environment import prepare

    sys.exit(run_command(sys.argv[1:], lambda: prepare(os.environ)))
