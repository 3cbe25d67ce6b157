"""A folder of an object store: its objects read and written whole."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hedonic.errors import HedonicError, UserError

if TYPE_CHECKING:
    from obstore.store import S3Store

SCHEME = "s3"
_RETRY_S = 20


class MissingObject(HedonicError):
    """There is no object of that name."""


class ObjectFolder:
    """A folder in S3, by ``s3://bucket/prefix``.

    Region, credentials and the address of another S3 than Amazon's are in the environment, under their
    usual names (AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, …).
    """

    def __init__(self, url: str) -> None:
        """Open the folder; nothing is asked yet.

        Raises:
            UserError: ``url`` is not one of S3.
        """
        parts = urlsplit(url)
        if parts.scheme != SCHEME or not parts.netloc:
            raise UserError(f"{url}: not s3://bucket/prefix")
        self.url = url.rstrip("/")
        self._store = _open(self.url)

    def read(self, name: str) -> bytes:
        """Return the content of an object.

        Raises:
            MissingObject: there is none of that name.
            HedonicError: the store does not answer, or does not let us read.
        """
        from obstore.exceptions import BaseError

        try:
            return self._store.get(name).bytes().to_bytes()
        except FileNotFoundError as err:
            raise MissingObject(f"{self.url}/{name}: there is no such object") from err
        except (BaseError, OSError) as err:
            raise HedonicError(f"{self.url}/{name}: cannot be read: {_said(err)}") from err

    def write(self, name: str, content: bytes) -> None:
        """Write an object, in place of one of that name.

        Raises:
            HedonicError: the store does not answer, or does not let us write.
        """
        from obstore.exceptions import BaseError

        try:
            self._store.put(name, content)
        except (BaseError, OSError) as err:
            raise HedonicError(f"{self.url}/{name}: cannot be written: {_said(err)}") from err


def _open(url: str) -> S3Store:
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    try:
        return S3Store.from_url(
            url,
            # Plain HTTP is spoken only where AWS_ENDPOINT_URL says so: a store of one's own on loopback.
            client_options={"allow_http": True},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=_RETRY_S)},
        )
    except (BaseError, ValueError) as err:
        raise UserError(f"{url}: cannot be opened: {_said(err)}") from err


def _said(err: Exception) -> str:
    """Return what the store said, on one line, and what to look at."""
    first = next((line.strip() for line in str(err).splitlines() if line.strip()), type(err).__name__)
    return f"{first[:400]}. Look at AWS_ENDPOINT_URL, AWS_REGION and the AWS credentials."
