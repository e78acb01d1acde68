"""How Paystack counts money."""

import re

from gatehouse.errors import FactRefused
from gatehouse.gateways.fields import currency_code
from gatehouse.money import EXPONENTS, MOST_MINOR

# Paystack writes every currency with two decimals, also those that ISO 4217 gives none: its own plugin for WooCommerce
# multiplies XOF and RWF by 100 like all others.
PAYSTACK_EXPONENT = 2
_WHOLE = re.compile("[0-9]{1,19}")  # `captured_amount` is a text, and so is the amount of some refunds


def iso_minor(amount: object, currency: object) -> int:
    """Return an amount as Paystack counts it in the minor units of ISO 4217; raise FactRefused where it has none."""
    code = currency_code(currency)
    if code is None:
        raise FactRefused("the currency is missing or unknown")
    count = int(amount) if isinstance(amount, str) and _WHOLE.fullmatch(amount) else amount
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_MINOR:
        raise FactRefused("the amount is missing or not a whole number of minor units")
    if EXPONENTS[code] > PAYSTACK_EXPONENT:
        raise FactRefused(f"Paystack does not say how it counts {code}")
    minor, rest = divmod(count, int(10 ** (PAYSTACK_EXPONENT - EXPONENTS[code])))
    if rest:
        raise FactRefused(f"the amount {count} is not a whole number of {code}")
    return minor


def paystacks_amount(amount_minor: int, currency: str) -> int:
    """Return minor units of ISO 4217 as Paystack counts them; raise ValueError where it does not say how."""
    if EXPONENTS[currency] > PAYSTACK_EXPONENT:
        raise ValueError(f"Paystack does not say how it counts {currency}")
    return amount_minor * int(10 ** (PAYSTACK_EXPONENT - EXPONENTS[currency]))


def minor_or_none(amount: object, currency: object) -> int | None:
    """Return an amount in minor units, where no money depends on it; None for any other."""
    try:
        return iso_minor(amount, currency)
    except FactRefused:  # it was not said, or says nothing that can be counted
        return None
