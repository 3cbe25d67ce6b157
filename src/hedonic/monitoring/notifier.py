"""Who is told of an alert: mail, chat and web hooks by URL, through apprise."""

from __future__ import annotations

import logging

from hedonic.settings import AlertSettings, Severity

__all__ = ["SEVERITIES", "Notifier", "Severity"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")

_logger = logging.getLogger("hedonic.alerts")


class Notifier:
    """The channels of HEDONIC_ALERTS__CHANNELS; by default none: the log and the book have every alert."""

    def __init__(self, settings: AlertSettings) -> None:
        """Take the channels; they are opened when there is something to tell."""
        self._settings = settings

    def tell(self, severity: Severity, title: str, body: str) -> bool:
        """Return whether every channel took the message; one that did not is logged, and nothing fails.

        What is below the least severity of the settings is told to nobody.
        """
        if not self._settings.urls or SEVERITIES.index(severity) < SEVERITIES.index(self._settings.least):
            return True
        import apprise

        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it writes whole URLs, passwords too
        kinds = {
            "info": apprise.NotifyType.INFO,
            "warning": apprise.NotifyType.WARNING,
            "critical": apprise.NotifyType.FAILURE,
        }
        channels = apprise.Apprise()
        sent = True
        for url in self._settings.urls:
            if not channels.add(url.get_secret_value()):
                # The URL may hold a password: only its scheme is told.
                scheme = url.get_secret_value().partition(":")[0]
                _logger.error("HEDONIC_ALERTS__CHANNELS: apprise knows no such channel: %s://…", scheme)
                sent = False
        if len(channels) and not channels.notify(body=body, title=title, notify_type=kinds[severity]):
            _logger.error("an alert did not reach every channel of HEDONIC_ALERTS__CHANNELS: %s", title)
            sent = False
        return sent
