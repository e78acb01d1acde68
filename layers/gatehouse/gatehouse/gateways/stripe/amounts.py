"""Stripe's amounts in the minor units of ISO 4217: https://docs.stripe.com/currencies."""

from gatehouse.errors import FactRefused
from gatehouse.gateways.fields import currency_code
from gatehouse.money import EXPONENTS, MOST_MINOR

# https://docs.stripe.com/currencies#zero-decimal and #three-decimal; all others have two
_BY_EXPONENT = {0: "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF", 3: "BHD JOD KWD OMR TND"}
_STRIPES_EXPONENTS = {code: exponent for exponent, codes in _BY_EXPONENT.items() for code in codes.split()}


def iso_minor(amount: object, currency: object) -> int:
    """Return an amount as Stripe counts it in the minor units of ISO 4217; raise FactRefused where it has none.

    ISK and UGX are written with two decimals that they do not have, and MGA without the two that it has.
    """
    code = currency_code(currency)
    if code is None:
        raise FactRefused("the currency is missing or unknown")
    if not isinstance(amount, int) or isinstance(amount, bool) or not 0 <= amount <= MOST_MINOR:
        raise FactRefused("the amount is missing or not a whole number of minor units")
    shift = EXPONENTS[code] - _STRIPES_EXPONENTS.get(code, 2)
    minor, rest = divmod(amount * int(10 ** max(shift, 0)), int(10 ** max(-shift, 0)))
    if rest:
        raise FactRefused(f"the amount {amount} is not a whole number of {code}")
    if minor > MOST_MINOR:
        raise FactRefused("the amount is larger than can be counted")
    return minor


def stripes_amount(amount_minor: int, currency: str) -> int:
    """Return minor units of ISO 4217 as Stripe counts them; raise ValueError for what it cannot count."""
    shift = EXPONENTS[currency] - _STRIPES_EXPONENTS.get(currency, 2)
    amount, rest = divmod(amount_minor * int(10 ** max(-shift, 0)), int(10 ** max(shift, 0)))
    if rest:
        raise ValueError(f"Stripe counts no parts of a whole {currency}")
    return amount


def minor_or_none(amount: object, currency: object) -> int | None:
    """Return an amount in minor units where no money depends on it; None for what cannot be counted."""
    try:
        return iso_minor(amount, currency)
    except FactRefused:  # it was not said, or says nothing that can be counted
        return None


def signed_minor_or_none(amount: object, currency: object) -> int | None:
    """Return an amount that may be less than nothing, as a fee that is given back or a credit on an invoice."""
    if isinstance(amount, int) and amount < 0:
        minor = minor_or_none(-amount, currency)
        return None if minor is None else -minor
    return minor_or_none(amount, currency)
