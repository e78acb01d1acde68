"""Every setting, typed. Nothing else in Gatehouse reads the environment.

A setting is read from the environment variable of the same name in capitals. A wrong or missing one stops the
function at its start with one line that names it. Secrets are never settings: a setting holds the *name* of a
secret (…_SECRET_ARN), and `secrets.py` fetches it. The keys that AWS itself puts into the environment are returned by
functions of their own, so that they are in no Settings and in no repr.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, NamedTuple

from gatehouse.errors import SettingError

STAGES = ("local", "dev", "staging", "prod")
TENANT_ENGINES = ("plain", "neon", "digitalocean")
PLANS = ("free", "pro", "team", "enterprise")


def _setting(doc: str, parse: Callable[[str], Any], default: Any) -> Any:
    return field(default=default, metadata={"doc": doc, "parse": parse})


def text(doc: str, default: str = "") -> Any:
    """Declare a setting that is any text."""
    return _setting(doc, str, default)


def one_of(doc: str, choices: tuple[str, ...], default: str) -> Any:
    """Declare a setting that is one word out of a few."""

    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"is {value!r}, must be one of {', '.join(choices)}")
        return value

    return _setting(doc, parse, default)


def number(doc: str, default: int, *, least: int, most: int) -> Any:
    """Declare a setting that is a whole number between two bounds."""

    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
            raise ValueError(f"is {value!r}, must be a whole number from {least} to {most}")
        return int(value)

    return _setting(doc, parse, default)


@dataclass(frozen=True)
class Settings:
    """The settings of one process; see `load`."""

    stage: str = one_of("Where this runs; some protections are lifted only in `local`.", STAGES, "local")
    aws_region: str = text("The AWS region; Lambda sets it.", "us-east-1")

    database_secret_arn: str = text("Secret with {pooled_url, direct_url} of this function's database role.")
    ops_database_secret_arn: str = text("The same of the role gatehouse_ops; only the console has it beside its own.")
    postgres_url: str = text("Pooled database address, where no DATABASE_SECRET_ARN is given.")
    postgres_url_non_pooling: str = text("Direct database address (migrations), where no secret is given.")
    database_tls: str = one_of(
        "`verify`: TLS with a checked certificate and name; `off` is accepted only in the local stage.",
        ("verify", "off"),
        "verify",
    )
    database_tls_root_file: str = text("PEM file of a private certificate authority; the system's roots when empty.")
    database_connect_milliseconds: int = number("Time to reach the database.", 1000, least=50, most=30_000)
    database_statement_milliseconds: int = number("Time for one flush.", 5000, least=50, most=900_000)
    database_away_seconds: int = number("How long a database that did not answer is left alone.", 5, least=0, most=300)

    payload_retention_days: int = number(
        "For how many days `gatehouse retention` keeps the sealed bytes of requests.", 400, least=1, most=36_500
    )
    forward_log_retention_days: int = number(
        "For how many days `gatehouse retention` keeps what was told to apps, and who sent it again.",
        180,
        least=1,
        most=36_500,
    )

    membership_grace_days: int = number(
        "For how many days a renewal may be late before a membership is marked: a renewal was missed.",
        3,
        least=0,
        most=365,
    )
    health_read_retention_days: int = number(
        "For how many days it is kept who read which patient's data.", 2190, least=1, most=36_500
    )

    admin_change_retention_days: int = number(
        "For how many days `gatehouse retention` keeps who changed merchants, accounts, keys and apps.",
        2190,
        least=365,
        most=36_500,
    )

    gateway_secret_arn: str = text("Secret of the function's gateway: {signing_secrets, api_key, mode}.")
    stripe_secret_arn: str = text("The same of Stripe, for a function that asks several gateways.")
    paypal_secret_arn: str = text("The same of PayPal.")
    paystack_secret_arn: str = text("The same of Paystack.")
    sayswitch_secret_arn: str = text("The same of SaySwitch.")
    mx_merchant_secret_arn: str = text("The same of MX Merchant.")
    data_keys_secret_arn: str = text("Secret with the keys that seal stored payloads: {current, keys}.")
    enrichment_queue_url: str = text("Queue that rings for jobs which ask a gateway's API.")
    enrichment_dlq_url: str = text("Dead-letter queue of the same.")
    forwarding_queue_url: str = text("Queue that rings for jobs which forward an event to an app.")
    forwarding_dlq_url: str = text("Dead-letter queue of the same.")
    reconciliation_queue_url: str = text("Queue that rings for jobs which compare a day with a gateway's list.")
    reconciliation_dlq_url: str = text("Dead-letter queue of the same.")
    reconcile_days: int = number("How many days are compared: today and those before it.", 3, least=1, most=60)
    reconcile_every_hours: int = number("How often each of those days is compared.", 6, least=1, most=168)
    elevenone_webhook_url: str = text(
        "Where the app elevenone of the merchant `default` is told of its events; what `gatehouse apps set` says wins."
    )
    forwarding_retry_attempts: int = number("How often an app is asked in one delivery.", 3, least=1, most=5)
    forwarding_timeout_ms: int = number("Milliseconds that one such attempt may take.", 6000, least=100, most=10_000)
    forwarding_source: str = text("What the header x-router-source says.", "nexai-paystack-router")
    forwarding_allowed_local: str = text(
        "Addresses of this machine that may be forwarded to, by commas; accepted only in the local stage."
    )
    inbox_queue_url: str = text("Queue for sealed requests that arrive while the database is away.")
    inbox_dlq_url: str = text("Dead-letter queue of the same.")
    stripe_api_url: str = text("Address of Stripe's API.", "https://api.stripe.com")
    paypal_api_url: str = text("Address of PayPal's API; when empty PayPal's own, live or sandbox as the account is.")
    paystack_api_url: str = text("Address of Paystack's API.", "https://api.paystack.co")
    sayswitch_api_url: str = text("Address of SaySwitch's API.", "https://backendapi.sayswitchgroup.com")
    mx_merchant_api_url: str = text(
        "Address of MX Merchant's API; when empty its own, live or sandbox as the account is or says."
    )

    public_api_url: str = text("Where the world reaches the webhooks, such as https://hooks.example.com.")

    api_allowed_origins: str = text("Web pages that may call the API from a browser, by commas; none when empty.")

    paypal_certificate_host: str = text(
        "Host and port of a stand-in for the sandbox's certificates, over plain HTTP; accepted only in the local stage."
    )
    paypal_certificate_root_file: str = text("PEM file of the root that signs the stand-in's certificates.")

    tenants_queue_url: str = text("Queue that rings for jobs which make and remove tenants' databases.")
    tenants_dlq_url: str = text("Dead-letter queue of the same.")
    tenant_engine: str = one_of(
        "Where a tenant's database is made, where neither the request nor its plan says so.", TENANT_ENGINES, "neon"
    )
    tenant_engine_of_plan: str = text("The engines of plans, such as `free=plain,enterprise=neon`; by commas.")
    tenant_cluster_secret_arn: str = text("Secret of the plain cluster for tenants: {direct_url}.")
    neon_secret_arn: str = text("Secret of the Neon account for tenants: {api_key, org_id}.")
    neon_region: str = text("Region of new Neon projects, where the request names none.", "aws-us-east-1")
    neon_api_url: str = text("Address of Neon's API.", "https://console.neon.tech/api/v2")
    digitalocean_secret_arn: str = text("Secret of the DigitalOcean cluster for tenants: {token, cluster_id}.")
    digitalocean_api_url: str = text("Address of DigitalOcean's API.", "https://api.digitalocean.com")
    tenant_grace_days: int = number("Days for which a deleted tenant can still be resumed.", 7, least=0, most=90)
    tenant_statement_milliseconds: int = number(
        "Time for one statement on a tenant's database.", 10_000, least=50, most=25_000
    )
    tenant_connections: int = number(
        "How many connections to tenants' databases one process keeps.", 20, least=1, most=500
    )
    tenant_jwt_issuers: str = text(
        "Who signs tokens for the tenants API: JSON, a list of {name, issuer, audience, algorithm, jwks_url, merchant}."
    )

    console_jwt_issuers: str = text("Who signs tokens for the console's sign-in: JSON, as TENANT_JWT_ISSUERS has it.")

    order_number_prefix: str = text("What order numbers begin with: `ALB` makes ALB-20260515-0001.", "ALB")
    order_time_zone: str = text("The time zone whose days order numbers count, by its IANA name.", "UTC")

    backup_database_secret_arn: str = text(
        "Secret with {pooled_url, direct_url} of the function's role in the backup database; none without a backup."
    )
    backup_postgres_url: str = text("Pooled address of the backup database, where no secret is given.")
    backup_postgres_url_non_pooling: str = text("Direct address of the backup database, where no secret is given.")
    backup_queue_url: str = text("Queue that rings for payments which the backup has yet to be told of.")
    backup_dlq_url: str = text("Dead-letter queue of the same.")
    backup_most_lag_seconds: int = number(
        "How far the backup may be behind for heavy reports to be read there.", 60, least=1, most=86_400
    )

    aws_endpoint_url: str = text("Address of a stand-in for all AWS services; AWS itself when empty.")
    aws_endpoint_url_sqs: str = text("The same for SQS alone.")
    aws_endpoint_url_secrets_manager: str = text("The same for Secrets Manager alone.")
    aws_lambda_function_name: str = text("The function's name in its logs; Lambda sets it.")
    aws_container_credentials_full_uri: str = text(
        "Where a function restored from a snapshot fetches its credentials; Lambda sets it."
    )
    log_level: str = one_of("The least that is logged.", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")

    @property
    def allowed_local(self) -> tuple[str, ...]:
        """Return the addresses of FORWARDING_ALLOWED_LOCAL, one by one."""
        return tuple(each for each in (part.strip() for part in self.forwarding_allowed_local.split(",")) if each)

    @property
    def api_origins(self) -> tuple[str, ...]:
        """Return the origins of API_ALLOWED_ORIGINS, one by one."""
        return tuple(each for each in (part.strip() for part in self.api_allowed_origins.split(",")) if each)

    @property
    def engines_of_plans(self) -> dict[str, str]:
        """Return TENANT_ENGINE_OF_PLAN by plan."""
        pairs = (part.partition("=") for part in self.tenant_engine_of_plan.split(",") if part.strip())
        return {plan.strip(): engine.strip() for plan, _, engine in pairs}


class AwsCredentials(NamedTuple):
    """The keys that sign calls to AWS; they never show."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return "<AwsCredentials>"


def aws_credentials() -> AwsCredentials | None:
    """Return the keys that Lambda put into the environment, or None: a restored snapshot gets none there."""
    key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    if not key_id or not secret:
        return None
    return AwsCredentials(key_id, secret, os.environ.get("AWS_SESSION_TOKEN", ""))


def aws_container_authorization() -> str:
    """Return the token to show at AWS_CONTAINER_CREDENTIALS_FULL_URI; a secret, so no setting."""
    return os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")


@cache
def settings() -> Settings:
    """Return the settings of this process, read once."""
    return load(os.environ)


def load(environment: Mapping[str, str]) -> Settings:
    """Read all settings from the environment; raise SettingError that names each wrong one."""
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for each in fields(Settings):
        name = each.name.upper()
        if (raw := environment.get(name, "")) == "":
            continue
        try:
            values[each.name] = each.metadata["parse"](raw)
        except ValueError as reason:
            wrong.append(f"{name} {reason}")
    found = Settings(**values)
    if found.stage != "local" and found.database_tls == "off":
        wrong.append("DATABASE_TLS is 'off', which is accepted only where STAGE is local")
    wrong += _wrong_stand_in(found)
    wrong += _wrong_forwarding(found)
    wrong += [
        f"API_ALLOWED_ORIGINS names {each!r}, which is no origin such as https://shop.example.com"
        for each in found.api_origins
        if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d+)?", each)
    ]
    if found.public_api_url and not re.fullmatch(r"https?://[^\s/?#@]+", found.public_api_url):
        wrong.append("PUBLIC_API_URL is no address such as https://hooks.example.com, with nothing behind it")
    wrong += [
        f"TENANT_ENGINE_OF_PLAN says {plan}={engine}, which is not a plan and an engine"
        for plan, engine in found.engines_of_plans.items()
        if plan not in PLANS or engine not in TENANT_ENGINES
    ]
    if wrong:
        raise SettingError("; ".join(wrong))
    return found


def _wrong_stand_in(found: Settings) -> list[str]:
    host, root_file = found.paypal_certificate_host, found.paypal_certificate_root_file
    if bool(host) != bool(root_file):
        return ["PAYPAL_CERTIFICATE_HOST and PAYPAL_CERTIFICATE_ROOT_FILE are needed together"]
    if host and found.stage != "local":
        return ["PAYPAL_CERTIFICATE_HOST is accepted only where STAGE is local"]
    return []


def _wrong_forwarding(found: Settings) -> list[str]:
    """Say what is wrong with the addresses; whether one is public is asked when it is used, as that can change."""
    wrong = []
    url = found.elevenone_webhook_url
    schemes = "https?" if found.stage == "local" else "https"
    if url and not re.fullmatch(rf"{schemes}://[^\s@/?#]+(?:[/?][^\s#]*)?", url):
        wrong.append("ELEVENONE_WEBHOOK_URL is no https address such as https://app.example.com/webhooks")
    if not re.fullmatch(r"[!-~](?:[ -~]{0,198}[!-~])?", found.forwarding_source):
        wrong.append("FORWARDING_SOURCE is no value of a header")
    if found.forwarding_allowed_local and found.stage != "local":
        wrong.append("FORWARDING_ALLOWED_LOCAL is accepted only where STAGE is local")
    return wrong
