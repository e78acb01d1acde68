"""Where this machine makes tenants' databases: on its own Postgres, and behind the stand-in for Neon."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gatehouse.tenants.engines.prepare import prepare_cluster
from gatehouse.tenants.links import Safety
from local.gateway_apis import GatewayApi
from local.kept_secrets import KeptPorts, KeptSecrets
from local.neon_api import BASE, NeonApi
from local.postgres import PostgresServer

MAKER = "gatehouse_tenants"
HANDLER = "tenant_provisioner."
ENGINE_OF_PLAN = "enterprise=neon"


class TenantEngines:
    """The engines of one running stack."""

    def __init__(self, server: PostgresServer, kept: KeptSecrets, ports: KeptPorts) -> None:
        self._server = server
        self._kept = kept
        self.neon = GatewayApi(NeonApi(server.url(), kept.token("neon_api_key", "napi_")), ports.port("neon"))

    @staticmethod
    def are_wanted(template: Path) -> bool:
        """Tell whether a template has tenants at all."""
        return HANDLER in template.read_text(encoding="utf-8")

    @property
    def neon_url(self) -> str:
        """Return the address that stands for Neon's API."""
        return self.neon.url + BASE

    def start(self) -> None:
        """Prepare the cluster, and let the stand-in answer."""
        prepare_cluster(self._server.url(), MAKER, self._kept.password(MAKER), Safety("off"))
        self.neon.start()

    def parameters(self, put: Callable[[str, Mapping[str, Any]], str]) -> dict[str, str]:
        """Return the template's parameters of the engines; `put` keeps a secret and returns its name."""
        cluster = {"direct_url": self._server.url("postgres", MAKER, self._kept.password(MAKER))}
        return {
            "TenantEngine": "plain",
            "TenantEngineOfPlan": ENGINE_OF_PLAN,
            "TenantClusterSecretArn": put("tenant-cluster", cluster),
            "NeonSecretArn": put("neon", {"api_key": self._kept.token("neon_api_key", "napi_")}),
            "NeonApiUrl": self.neon_url,
        }

    def command_line(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """Return the settings with which `gatehouse tenants` reaches the engines."""
        return {
            "TENANT_ENGINE": parameters["TenantEngine"],
            "TENANT_ENGINE_OF_PLAN": parameters["TenantEngineOfPlan"],
            "TENANT_CLUSTER_SECRET_ARN": parameters["TenantClusterSecretArn"],
            "NEON_SECRET_ARN": parameters["NeonSecretArn"],
            "NEON_API_URL": parameters["NeonApiUrl"],
        }
