"""People come in with a token of an issuer that the console was told of, and see what it says and no more."""

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from console import sessions
from console.visitors import SECURE_COOKIE
from gatehouse.database.connection import Database
from gatehouse.errors import SettingError
from gatehouse.models import api_keys
from gatehouse.sealing import Keyring
from gatehouse.tenants.tokens import Issuer, Tokens, issuers_of
from tests.console.console_client import Browser, Console
from tests.console.scenery import paint
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("O4")

HOUSE = "https://id.example.com"
SHOP = "https://shop.example.com"
AUDIENCE = "gatehouse-console"
KEY, OTHER_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ISSUERS = (
    Issuer("house", HOUSE, AUDIENCE, "ES256", f"{HOUSE}/jwks", "*"),
    Issuer("shop", SHOP, AUDIENCE, "ES256", f"{SHOP}/jwks", "acme", "https://example.com/"),
)


def token(key: ec.EllipticCurvePrivateKey = KEY, **changes: Any) -> str:
    told = {
        "iss": HOUSE,
        "aud": AUDIENCE,
        "sub": "anna",
        "exp": int(time.time()) + 600,
        "gatehouse_merchant": "default",
        "gatehouse_role": "admin",
        **changes,
    }
    return jwt.encode({name: value for name, value in told.items() if value is not None}, key, "ES256", {"kid": "k1"})


@pytest.fixture
def told(console: Console) -> Console:
    """The console, told of two issuers."""
    keys = {"keys": [{**json.loads(ECAlgorithm.to_jwk(KEY.public_key())), "kid": "k1"}]}
    console.tokens = Tokens(ISSUERS, lambda _: keys)
    return console


def refused(console: Console, shown: str) -> str:
    """Return what the page says to a token that opens nothing."""
    browser = console.browser()
    answer = browser.post("/console/sign-in", {"key": shown}, csrf=False)
    assert answer.status == 401, answer.words
    assert not any("session" in name for name in browser.cookies)
    assert shown not in answer.text
    return answer.words


def test_nothing_is_said_of_tokens_where_none_are_taken(console: Console) -> None:
    assert "oken" not in console.browser().get("/console/sign-in").words
    assert "A key looks like" in refused(console, token())


def test_a_token_opens_its_merchant_with_its_role(told: Console, gatehouse_database: GatehouseDatabase) -> None:
    paint(gatehouse_database)
    assert "Or a token of house or shop" in told.browser().get("/console/sign-in").words
    admin = told.sign_in(token())
    shown = admin.get("/console/m/default/payments")
    assert (shown.status, "house:anna, admin" in shown.words.replace(" ,", ",")) == (200, True)
    assert admin.get("/console/m/acme").status == 404
    assert admin.get("/console/ops/settings").status == 404
    viewer = told.sign_in(token(gatehouse_role="viewer"))
    assert viewer.post("/console/m/default/payments/1/refund", {"amount": "1"}).status == 403
    operator = told.sign_in(token(gatehouse_merchant="*", gatehouse_role="ops"))
    assert operator.get("/console/m/acme").status == 200
    assert "house:anna" in operator.get("/console/ops/settings").words


def test_what_he_changes_says_who_he_is(told: Console, ops: Database, gatehouse_database: GatehouseDatabase) -> None:
    paint(gatehouse_database)
    admin = told.sign_in(token())
    page = admin.get("/console/m/default/payments/1/refund")
    done = admin.post("/console/m/default/payments/1/refund", {**page.hidden(), "amount": "1.00", "reason": "ill"})
    assert done.status == 303, done.words
    (row,) = gatehouse_database.sql("select actor from refund_requests where state <> 'failed'")
    (key,) = [row for row in api_keys.list_keys(ops) if row["name"] == "house:anna"]
    assert row[0] == f"key {key['id']} (house:anna)"


def test_an_address_as_subject_stays_out_of_what_is_kept_for_ever(
    told: Console, gatehouse_database: GatehouseDatabase
) -> None:
    operator = told.sign_in(token(sub="anna@example.com", gatehouse_merchant="*", gatehouse_role="ops"))
    made = operator.get("/console/ops/settings").hidden()
    operator.post("/console/ops/settings/keys", {**made, "name": "the till", "role": "viewer", "merchant": "default"})
    actors = gatehouse_database.sql("select actor, details::text from admin_changes where what = 'key added'")
    assert actors
    assert not [row for row in actors if "anna@" in row[0] + row[1]]


@pytest.mark.req("M9")
def test_health_data_shows_where_the_token_says_so(told: Console) -> None:
    for said, status in ((None, 403), ("true", 403), (True, 200)):
        browser = told.sign_in(token(gatehouse_health=said))
        assert browser.get("/console/m/default/memberships").status == status, said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gatehouse_merchant": None}, "does not say gatehouse_merchant"),
        ({"gatehouse_merchant": ["default"]}, "does not say gatehouse_merchant"),
        ({"gatehouse_merchant": "nobody"}, "names a merchant that there is not"),
        ({"gatehouse_role": None}, "does not say gatehouse_role"),
        ({"gatehouse_role": "king"}, "has no role of ours in gatehouse_role"),
        ({"gatehouse_role": ["admin"]}, "does not say gatehouse_role"),
        ({"gatehouse_merchant": "*"}, "only the role ops may see"),
        ({"exp": 1_000_000}, "has expired"),
        ({"exp": None}, "is not good"),
        ({"aud": "other"}, "is not good"),
        ({"aud": None}, "is not good"),
        ({"iss": "https://evil.example.com"}, "of an issuer that is not known here"),
        ({"sub": None}, "is not good"),
        ({"sub": "x" * 300}, "too long"),
        ({"sub": "an na"}, "plain characters"),
        ({"nbf": 9_000_000_000}, "is not good"),
        # The other issuer speaks for acme alone, by claims of its own names.
        ({"iss": SHOP}, "does not say https://example.com/merchant"),
        (
            {"iss": SHOP, "https://example.com/merchant": "default", "https://example.com/role": "viewer"},
            "names a merchant for which its issuer does not speak",
        ),
        (
            {"iss": SHOP, "https://example.com/merchant": "*", "https://example.com/role": "ops"},
            "names a merchant for which its issuer does not speak",
        ),
    ],
)
def test_a_token_that_does_not_say_all_opens_nothing(told: Console, changes: dict[str, Any], words: str) -> None:
    assert words in refused(told, token(**changes))


def test_an_issuer_of_one_merchant_speaks_for_that(told: Console) -> None:
    names: dict[str, Any] = {"https://example.com/merchant": "acme", "https://example.com/role": "viewer"}
    assert told.sign_in(token(iss=SHOP, **names)).get("/console/m/acme").status == 200


def test_the_algorithm_is_ours_and_the_signature_is_checked(told: Console) -> None:
    claims = jwt.decode(token(), options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", "none", {"kid": "k1"})
    confused = jwt.encode(claims, "x" * 32, "HS256", {"kid": "k1"})
    for wrong in (unsigned, confused, token(OTHER_KEY), token()[:-4] + "AAAA"):
        assert "is not good" in refused(told, wrong)
    assert "cannot be read" in refused(told, "a.b.c")
    assert "A key looks like" in refused(told, "a.b")


def test_a_session_ends_with_its_token(told: Console, gatehouse_database: GatehouseDatabase, keyring: Keyring) -> None:
    browser = told.sign_in(token(exp=int(time.time()) + 600))
    (cookie,) = [each for each in browser.set_cookies if "session" in each]
    assert 590 <= int(cookie.lower().partition("max-age=")[2].partition(";")[0]) <= 600
    session = sessions.open_session(keyring, browser.cookies[SECURE_COOKIE], time.time())
    assert session is not None
    assert session.expires_at <= time.time() + 600
    assert sessions.open_session(keyring, browser.cookies[SECURE_COOKIE], time.time() + 601) is None
    # The database ends it too, whatever a browser still sends.
    gatehouse_database.sql("update api_keys set expires_at = now() - interval '1 second' where name = 'house:anna'")
    assert browser.get("/console/m/default").location.endswith("why=expired")
    long = told.sign_in(token(exp=int(time.time()) + 400_000))
    (cookie,) = [each for each in long.set_cookies if "session" in each]
    assert f"max-age={sessions.SESSION_SECONDS}" in cookie.lower()


def test_an_operator_ends_a_session_that_a_token_began(told: Console, ops: Database, operator: Browser) -> None:
    browser = told.sign_in(token())
    (key,) = [row for row in api_keys.list_keys(ops) if row["name"] == "house:anna"]
    assert key["created_by"] == "sign-in by token"
    operator.post(f"/console/ops/settings/keys/{key['id']}/revoke")
    assert browser.get("/console/m/default").location.endswith("why=revoked")
    assert all(row["name"] != "house:anna" for row in api_keys.list_keys(ops))


def test_a_merchant_that_is_off_lets_nobody_in(told: Console, operator: Browser) -> None:
    browser = told.sign_in(token())
    operator.post("/console/ops/settings/merchants/default/switch", {"on": "no"})
    assert browser.get("/console/m/default").location.endswith("why=merchant_off")
    assert "switched off" in refused(told, token())


def test_a_setting_that_is_wrong_is_named() -> None:
    with pytest.raises(SettingError, match="CONSOLE_JWT_ISSUERS is no JSON list"):
        issuers_of('[{"name": "x"}]', "CONSOLE_JWT_ISSUERS")
