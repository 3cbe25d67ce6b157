"""The process edge: errors become messages and exit codes, never tracebacks unless asked for."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Sequence

from hedonic.errors import HedonicError, UserError

FAILED, INTERRUPTED = 1, 130


def run_command(arguments: Sequence[str], prepare: Callable[[], None]) -> int:
    """Return the exit code of the command: 0 done, 1 failed, 2 the user's error, 3 not promoted.

    Args:
        arguments: the command line without the program's name.
        prepare: sets the environment of the project around; asked for help, a command needs none.
    """
    try:
        try:
            prepare()
        except UserError:
            if "--help" not in arguments and arguments:
                raise
        from hedonic.cli.app import app

        app(args=list(arguments), prog_name="hedonic")
    except SystemExit as err:
        return err.code if isinstance(err.code, int) else (FAILED if err.code else 0)
    except HedonicError as err:
        return _tell(arguments, str(err), err.exit_code, expected=True)
    except KeyboardInterrupt:
        return _tell(arguments, "interrupted", INTERRUPTED, expected=True)
    except Exception as err:  # noqa: BLE001 (the process edge)
        reason = _stated_reason(err)
        if reason is not None:
            return _tell(arguments, str(reason), reason.exit_code, expected=True)
        return _tell(arguments, f"{type(err).__name__}: {err}", FAILED, expected=False)
    return 0


def _stated_reason(err: BaseException | None) -> HedonicError | None:
    """Return the first error raised on purpose, or a full disk, among the causes of ``err``."""
    while err is not None:
        if isinstance(err, HedonicError):
            return err
        if isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" for {err.filename}" if err.filename else ""
            return HedonicError(
                f"no space is left{where}. Make room, then give the command again: "
                "`hedonic gc` tells what nothing needs any more."
            )
        err = err.__cause__ or err.__context__
    return None


def _tell(arguments: Sequence[str], message: str, code: int, *, expected: bool) -> int:
    debug = "--debug" in arguments
    if debug:
        traceback.print_exc()
    hint = (
        ""
        if expected or debug
        else "\nThis is not an error that Hedonic foresaw: --debug shows where it arose."
    )
    sys.stderr.write(f"hedonic: {message}{hint}\n")
    if "--json" in arguments:
        from hedonic.cli.console import write_object

        write_object({"error": {"exit_code": code, "message": message}})
    return code
