"""Amazon S3, and stores that speak its protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwm_magics.connections.base import StorageConnection
from hwm_magics.connections.secrets import Secret

__all__ = ["S3Connection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Connection(StorageConnection):
    """A bucket.

    Attributes:
        bucket: The bucket's name.
        region: Its region.
        access_key_id, secret_access_key, session_token: Credentials; without them those of the
            environment are used.
        endpoint: Another service's address.
        allow_http: Whether that service may be spoken to without TLS.
    """

    type: ClassVar[str] = "s3"
    bucket: str
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    endpoint: str | None = None
    allow_http: bool = False

    def uri(self, path: str) -> str:
        return f"s3://{self.bucket}/{self._below_root(path)}"

    def storage_options(self) -> dict[str, str]:
        options: dict[str, str] = {}
        if self.region is not None:
            options["AWS_REGION"] = self.region
        if self.access_key_id is not None:
            options["AWS_ACCESS_KEY_ID"] = self.access_key_id
        if self.secret_access_key is not None:
            options["AWS_SECRET_ACCESS_KEY"] = self.secret_access_key.reveal()
        if self.session_token is not None:
            options["AWS_SESSION_TOKEN"] = self.session_token.reveal()
        if self.endpoint is not None:
            options["AWS_ENDPOINT_URL"] = self.endpoint
        if self.allow_http:
            options["AWS_ALLOW_HTTP"] = "true"
        return options | StorageConnection.storage_options(self)
