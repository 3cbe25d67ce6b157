"""The errors that Hedonic raises on purpose."""


class HedonicError(Exception):
    """A run failed for a reason that the message states; exit code 1."""

    exit_code = 1


class UserError(HedonicError):
    """What was given is wrong and the message says how to mend it; exit code 2."""

    exit_code = 2


class ContractError(UserError):
    """A contract cannot be read: every problem with its line and its fix."""


class SourceError(UserError):
    """A source is missing, unreadable, incomplete or not what the contract says."""


class ValidationRefused(UserError):
    """The data break a critical expectation; no validated snapshot was made.

    Attributes:
        report: sha256 of the report that says so; None where there is none.
    """

    def __init__(self, message: str, report: str | None = None) -> None:
        """Say what is broken, and name the report."""
        super().__init__(message)
        self.report = report


class ReleaseRefused(HedonicError):
    """A release or bento is not what its manifest or the history says."""
