"""Google Cloud Storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwm_magics.connections.base import StorageConnection
from hwm_magics.connections.secrets import Secret

__all__ = ["GcsConnection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsConnection(StorageConnection):
    """A bucket.

    Attributes:
        bucket: The bucket's name.
        service_account: The path of a service account's key file; without one, and without
            ``service_account_key``, the environment's own credentials are used.
        service_account_key: The key file's JSON text.
    """

    type: ClassVar[str] = "gcs"
    bucket: str
    service_account: str | None = None
    service_account_key: Secret | None = None

    def uri(self, path: str) -> str:
        return f"gs://{self.bucket}/{self._below_root(path)}"

    def storage_options(self) -> dict[str, str]:
        options: dict[str, str] = {}
        if self.service_account is not None:
            options["google_service_account"] = self.service_account
        if self.service_account_key is not None:
            options["google_service_account_key"] = self.service_account_key.reveal()
        return options | StorageConnection.storage_options(self)
