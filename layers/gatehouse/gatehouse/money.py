"""Money as whole minor units (cents, yen, fils) and a currency; nothing here or elsewhere takes a float.

Exponents are ISO 4217's. A gateway that counts in other units converts in its own `translate.py`.
"""

import re
from decimal import Decimal

_BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE
          CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL
          HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR
          MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK
          SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST
          XCD XCG YER ZAR ZMW ZWG
          CUC HRK MRO SLL STD ZWL""",  # the last line: withdrawn, and still found in old payments
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS = {code: exponent for exponent, codes in _BY_EXPONENT.items() for code in codes.split()}

MOST_MINOR = 2**63 - 1  # what a bigint column holds
MOST_DIGITS = 40
_DECIMAL_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)


def exponent(currency: str) -> int:
    """Return how many decimals a currency (ISO 4217, upper case) has; raise ValueError for an unknown one."""
    if currency not in EXPONENTS:
        raise ValueError(f"{currency[:8]!r} is no currency that we know")
    return EXPONENTS[currency]


def to_minor(amount: Decimal | str, currency: str) -> int:
    """Return an amount of major units ("12.30") as minor units (1230); raise ValueError where that is not exact."""
    exact = _exact(amount)
    numerator, denominator = exact.as_integer_ratio()
    minor, rest = divmod(numerator * int(10 ** exponent(currency)), denominator)
    if rest:
        raise ValueError(f"{exact} has more decimals than {currency}")
    if abs(minor) > MOST_MINOR:
        raise ValueError(f"{exact} {currency} is more than can be counted")
    return minor


def to_decimal(amount_minor: int, currency: str) -> Decimal:
    """Return minor units (1230) as a Decimal of major units (12.30), with all decimals of the currency."""
    _require_whole(amount_minor)
    digits = tuple(int(digit) for digit in str(abs(amount_minor)))
    return Decimal((int(amount_minor < 0), digits, -exponent(currency)))


def written(amount_minor: int, currency: str) -> str:
    """Return an amount as people read it: "1,234.50 EUR"."""
    return f"{to_decimal(amount_minor, currency):,f} {currency}"


def _exact(amount: Decimal | str) -> Decimal:
    if isinstance(amount, str):
        if len(amount) > MOST_DIGITS or not _DECIMAL_NUMBER.fullmatch(amount):
            raise ValueError(f"{amount[:MOST_DIGITS]!r} is no amount")
        return Decimal(amount)
    if not isinstance(amount, Decimal):  # a float has lost the amount already; an int does not say which unit it is in
        raise TypeError(f"an amount is a Decimal or a text, not {type(amount).__name__}")
    if not amount.is_finite() or len(amount.as_tuple().digits) > MOST_DIGITS or abs(amount.adjusted()) > MOST_DIGITS:
        raise ValueError("that is no amount")
    return amount


def _require_whole(amount_minor: int) -> None:
    if not isinstance(amount_minor, int) or isinstance(amount_minor, bool):
        raise TypeError(f"minor units are whole, not {type(amount_minor).__name__}")
