"""Tokens of Microsoft Entra ID, by whatever credential azure-identity finds here. They are never shown."""

from __future__ import annotations

from hwm_magics.connections.secrets import Secret, scrub
from hwm_magics.errors import EngineNotInstalledError, LoginError, clean_message

__all__ = ["DATABASE", "STORAGE", "token_for"]

DATABASE = "https://database.windows.net/.default"
STORAGE = "https://storage.azure.com/.default"


def token_for(scope: str, *, doing: str, client_id: str | None = None) -> Secret:
    """A token of ``DefaultAzureCredential``: of the environment, a managed identity, or a developer's login.

    Args:
        scope: What it is for: :data:`DATABASE` or :data:`STORAGE`.
        doing: What it is needed for, for messages.
        client_id: A user-assigned managed identity; None for the system's own.

    Raises:
        EngineNotInstalledError: azure-identity is not installed.
        LoginError: No credential gives one.
    """
    try:
        from azure.core.exceptions import AzureError
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise EngineNotInstalledError(
            "the package azure-identity is not installed", hint="pip install 'hwm-magics[azure]'"
        ) from None
    try:
        credential = DefaultAzureCredential(
            **({"managed_identity_client_id": client_id} if client_id else {})
        )
        try:
            return Secret(str(credential.get_token(scope).token))
        finally:
            credential.close()
    except (AzureError, ValueError) as error:
        # Its message lists every credential that was tried, over many lines.
        told = scrub(clean_message(str(error).partition("\n")[0], 200))
        raise LoginError(
            f"{doing}: azure-identity has no token for {scope.removesuffix('/.default')} ({told})",
            hint="log in with az login, give the machine a managed identity, or set AZURE_TENANT_ID, "
            "AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
        ) from None
