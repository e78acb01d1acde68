"""The engines of this process, each made when it is first needed, from the settings and their secrets."""

from collections.abc import Callable
from functools import cache
from typing import Any

from gatehouse.database.connection import database
from gatehouse.errors import SettingError
from gatehouse.secrets import secret
from gatehouse.settings import settings
from gatehouse.tenants.engines import Engine
from gatehouse.tenants.engines.api import ANSWER_SECONDS, CONNECT_SECONDS, EngineApi
from gatehouse.tenants.links import Links, Safety
from gatehouse.tenants.records import sql

type Engines = Callable[[str], Engine]


def safety() -> Safety:
    """Return how connections to tenants' databases are encrypted."""
    return Safety(settings().database_tls, settings().database_tls_root_file)


@cache
def links() -> Links:
    """Return the connections of this process."""
    return Links(safety(), settings().tenant_connections)


@cache
def engine(name: str) -> Engine:
    """Return an engine by its name; raise SettingError when its secret is not set."""
    return _MAKERS[name]()


def engine_for(plan: str, asked: str | None = None) -> str:
    """Return the engine of a new tenant: the one asked for, that of its plan, or that of the settings."""
    return asked or settings().engines_of_plans.get(plan) or settings().tenant_engine


def configured() -> tuple[str, ...]:
    """Return the engines whose secrets are set."""
    found = settings()
    arns = {
        "plain": found.tenant_cluster_secret_arn,
        "neon": found.neon_secret_arn,
        "digitalocean": found.digitalocean_secret_arn,
    }
    return tuple(name for name, arn in arns.items() if arn)


def _plain() -> Engine:
    from gatehouse.tenants.engines.plain import PlainEngine

    return PlainEngine(_kept("tenant_cluster_secret_arn", "direct_url")["direct_url"], safety())


def _neon() -> Engine:
    from gatehouse.tenants.engines.neon import SECONDS_EACH, NeonEngine

    kept = _kept("neon_secret_arn", "api_key")
    api = EngineApi("Neon", _http(settings().neon_api_url, kept["api_key"]), _turns("neon", SECONDS_EACH))
    return NeonEngine(api, safety(), organization=kept.get("org_id", ""), region=settings().neon_region)


def _digitalocean() -> Engine:
    from gatehouse.tenants.engines.digitalocean import SECONDS_EACH, DigitalOceanEngine, address_of_cluster

    kept = _kept("digitalocean_secret_arn", "token", "cluster_id")
    http = _http(settings().digitalocean_api_url, kept["token"])
    api = EngineApi("DigitalOcean", http, _turns("digitalocean", SECONDS_EACH))
    address, authority = address_of_cluster(api, kept["cluster_id"])
    return DigitalOceanEngine(api, kept["cluster_id"], address, safety(), authority=authority)


_MAKERS: dict[str, Callable[[], Engine]] = {"plain": _plain, "neon": _neon, "digitalocean": _digitalocean}


def _kept(setting: str, *wanted: str) -> dict[str, Any]:
    arn = getattr(settings(), setting)
    if not arn:
        raise SettingError(f"{setting.upper()} is not set: no tenant can be made there")
    kept = secret(arn)
    if missing := [name for name in wanted if not kept.get(name)]:
        raise SettingError(f"the secret of {setting.upper()} lacks {', '.join(missing)}")
    return kept


def _http(url: str, token: str) -> Any:
    import httpx

    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=timeout)


def _turns(name: str, seconds_each: float) -> Callable[[], float]:
    def take_turn() -> float:
        row = database().query_one(sql.take_turn, engine=name, seconds_each=str(seconds_each))
        return max(0.0, float(row["wait_seconds"]))

    return take_turn
