"""A look at the code: does the commit that is checked out change what features and models mean?"""

from __future__ import annotations

import logging

from hedonic.errors import UserError
from hedonic.settings import Settings
from hedonic.watching.committed import committed_digest, head
from hedonic.watching.event import Emit, Event, code_event
from hedonic.watching.sighting import CodeSighting, code_file

logger = logging.getLogger("hedonic.watch")


def look_at_code(settings: Settings, emit: Emit) -> Event | None:
    """Return the event that told of a commit with other features or models, None when there is none.

    The first commit ever seen is recorded, and is no news. As with data, the digest is recorded before
    the event is emitted.

    Raises:
        NotDelivered: the event did not arrive; it is sent again at the next look.
        HedonicError: git does not give the commit.
    """
    file = code_file(settings.home)
    with file.alone():
        before = file.read() or CodeSighting()
        commit = head(settings.root)
        after = before if commit in (None, before.commit) else _see(settings, before, str(commit))
        if after != before:
            file.write(after)
        event = after.announcing[-1] if after.announcing else None
        file.deliver(after, emit)
        return event


def _see(settings: Settings, before: CodeSighting, commit: str) -> CodeSighting:
    try:
        digest = committed_digest(settings.root, commit)
    except UserError as err:
        logger.warning("commit %.12s is passed over: %s", commit, err)
        return before.model_copy(update={"commit": commit})
    after = before.model_copy(update={"commit": commit, "digest": digest})
    if before.digest in (None, digest):
        return after
    logger.info("commit %.12s changes features or models", commit)
    event = code_event(
        f"{before.digest}/{digest}/{commit}",
        {
            "commit": commit,
            "digest": digest,
            "previous": str(before.digest),
            "reason": f"code changed: {commit[:12]}",
        },
    )
    return after.to_announce(event)
