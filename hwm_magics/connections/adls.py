"""Azure Data Lake Storage and Blob Storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwm_magics.connections.base import StorageConnection
from hwm_magics.connections.entra import STORAGE, token_for
from hwm_magics.connections.secrets import Secret

__all__ = ["AdlsConnection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdlsConnection(StorageConnection):
    """A container of a storage account.

    Attributes:
        account: The storage account's name.
        container: The container's name.
        auth: ``default`` (a managed identity, or whatever the environment's ``AZURE_…`` variables
            say), ``cli`` (the login of ``az``), ``azure_default`` (whatever azure-identity finds), ``key``,
            ``sas`` or ``client_secret``.
        account_key, sas_token, client_secret: The credential of that kind.
        client_id, tenant_id: Who logs in, for ``client_secret``; for ``azure_default`` the former is a
            user-assigned managed identity.
        endpoint: Another service's address, such as an emulator's.
        allow_http: Whether that service may be spoken to without TLS.
    """

    type: ClassVar[str] = "adls"
    account: str
    container: str
    auth: str = "default"
    account_key: Secret | None = None
    sas_token: Secret | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    tenant_id: str | None = None
    endpoint: str | None = None
    allow_http: bool = False

    def uri(self, path: str) -> str:
        return f"abfss://{self.container}@{self.account}.dfs.core.windows.net/{self._below_root(path)}"

    def storage_options(self) -> dict[str, str]:
        options = {"account_name": self.account}
        if self.auth == "cli":
            options["use_azure_cli"] = "true"
        if self.auth == "azure_default":
            doing = f"opening the storage account {self.account}"
            options["bearer_token"] = token_for(STORAGE, doing=doing, client_id=self.client_id).reveal()
            return options | self._service() | StorageConnection.storage_options(self)
        if self.account_key is not None:
            options["account_key"] = self.account_key.reveal()
        if self.sas_token is not None:
            options["sas_token"] = self.sas_token.reveal().removeprefix("?")
        if self.client_secret is not None:
            options["client_secret"] = self.client_secret.reveal()
        if self.client_id is not None:
            options["client_id"] = self.client_id
        if self.tenant_id is not None:
            options["tenant_id"] = self.tenant_id
        return options | self._service() | StorageConnection.storage_options(self)

    def _service(self) -> dict[str, str]:
        """Where another service is."""
        options = {"azure_storage_endpoint": self.endpoint} if self.endpoint is not None else {}
        return options | ({"allow_http": "true"} if self.allow_http else {})
