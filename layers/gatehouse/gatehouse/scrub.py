"""Takes out of texts and structures what must never be kept or shown in clear, and leaves everything else as it is.

    scrub({"note": "card 4111 1111 1111 1111", "cvv": "123", "plan": "gold"})
    -> {"note": "card ****1111", "cvv": "***", "plan": "gold"}

It knows a secret by its own form (card numbers, Paystack's authorisation codes, Stripe's client secrets, API keys and
signing secrets) or by the name of the key that it stands under. Numbers are left alone: in our facts they are money and
counts, and a payload's number is a text before it becomes metadata.
"""

import re
from functools import lru_cache
from typing import Any

MASK = "***"
MOST_DEPTH = 100  # what lies deeper is masked whole; read_json_object lets a payload be deeper than Python's stack
LONGEST_KEY = 64  # no longer one is remembered, or names a secret

# One search tells that a text has nothing in it, which is so for nearly all. It begins with a set of characters,
# because that is what Python's engine skips to: 0.5 us for a short text, half of what the patterns below would take.
_MAY_HOLD = re.compile(r"[0-9_](?:[0-9 -]{12}|(?:secret|live|test)_|(?<=AUTH_)|(?<=whsec_))")

# These stay texts: re compiles them, once, when a text may hold something. That is 1.5 ms less of every cold start.
_SECRETS = r"""(?x)
    (?<![A-Za-z0-9]) (?:
        (?:[sr]k_(?:live|test)_) \w+                # secret and restricted API keys of Stripe, Paystack, SaySwitch
      | whsec_ [\w+/=-]+                            # signing secrets
      | AUTH_ (?![A-Z_]{1,40}\b) \w{6,}             # Paystack's reusable authorisations; not words as AUTH_DECLINED
    )
    | \b \w+ _secret_ (?: \w | %[0-9A-Fa-f]{2} ){8,}  # client secrets: pi_…_secret_…, seti_…, cs_…, which holds %2F
"""
# A UUID may be of digits alone, and its parts of 4 and 12 are as long as a card number.
_UUID = r"(?<![0-9A-Za-z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])"
_NUMBER = rf"(?P<uuid>{_UUID})|[0-9]+(?:[ -][0-9]+)*"
_GROUP = r"[0-9]+"

# How card numbers begin, from and to, and how many digits they have.
CARD_RANGES = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("6011", "6011", (16, 17, 18, 19)),  # Discover
    ("644", "659", (16, 17, 18, 19)),
    ("5060", "5061", (16, 17, 18, 19)),  # Verve, and 650002 to 650027, which Discover's range holds
    ("507865", "507964", (16, 17, 18, 19)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("300", "305", (14, 15, 16, 17, 18, 19)),  # Diners Club
    ("36", "36", (14, 15, 16, 17, 18, 19)),
    ("38", "38", (14, 15, 16, 17, 18, 19)),
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
)
_RANGES_OF = {digit: [each for each in CARD_RANGES if each[0][0] == digit] for digit in "0123456789"}
FEWEST_DIGITS = 13
LONGEST_BEGINNING = 6  # of those in CARD_RANGES

# The keys whose value is masked whole, whatever it is. They are compared without case, spaces, hyphens, underscores.
_KEYS = """
    authorizationcode authorisationcode authorizationurl authorisationurl accesscode
    clientsecret secret secretkey signingsecret webhooksecret apikey privatekey password passphrase
    token emailtoken cardtoken paymenttoken accesstoken refreshtoken clienttoken sessiontoken idtoken
    pan cardnumber cardno cvv cvv2 cvc cvc2 cvn csc cardcvv cardcvc securitycode pin cardpin track1 track2 trackdata
    accountnumber bankaccountnumber accountno iban originatoraccountnumber senderaccountnumber receiveraccountnumber
    senderbankaccountnumber receiverbankaccountnumber hostedinvoiceurl invoicepdf
"""
SECRET_KEYS = frozenset(_KEYS.split())
_AS_THEY_ARE = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED = bytes.maketrans(b"0123456789", bytes(sum(divmod(2 * digit, 10)) for digit in range(10)))


def scrub(value: Any) -> Any:
    """Return a text, dict, list or tuple with what is secret in it masked; the same object where nothing is."""
    return _scrubbed(value, MOST_DEPTH)


def scrub_text(text: str) -> str:
    """Return a text with what is secret in it masked; the same object where nothing is."""
    if not _MAY_HOLD.search(text):
        return text
    found = re.sub(_NUMBER, _without_cards, re.sub(_SECRETS, MASK, text))
    return text if found == text else found


def _scrubbed(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return scrub_text(value)
    if not isinstance(value, (dict, list, tuple)):
        return value
    if depth == 0:
        return MASK
    if isinstance(value, dict):
        return _scrubbed_dict(value, depth)
    found = [_scrubbed(inner, depth - 1) for inner in value]
    if all(new is old for new, old in zip(found, value, strict=True)):
        return value
    if isinstance(value, list):
        return found
    return type(value)(*found) if hasattr(value, "_fields") else tuple(found)  # a NamedTuple takes its fields singly


def _scrubbed_dict(value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    found, is_changed = {}, False
    for key, old in value.items():
        shown, is_secret = _key(key) if isinstance(key, str) and len(key) <= LONGEST_KEY else (scrub(key), False)
        new = _masked(old) if is_secret else _scrubbed(old, depth - 1)
        if new is not old or shown != key:
            is_changed = True
        found[shown] = new
    return found if is_changed else value


@lru_cache(maxsize=1024)
def _key(key: str) -> tuple[str, bool]:
    """Return a key as it may be shown, and whether what stands under it is secret."""
    return scrub_text(key), "".join(filter(str.isalnum, key.lower())) in SECRET_KEYS


def _masked(value: Any) -> Any:
    """Return the mask for a value; nothing, a yes or no, and the mask itself say nothing secret."""
    return value if not value or value is True or value == MASK else MASK


def _without_cards(number: re.Match[str]) -> str:
    """Return digits in groups ("12 4111 1111 1111 1111") with those groups masked that are a card number together."""
    text = number[0]
    if number["uuid"] or len(text) < FEWEST_DIGITS:
        return text
    follows_plus = number.start() > 0 and number.string[number.start() - 1] == "+"
    shown, done = "", 0
    for start, end in _card_spans(text, follows_plus=follows_plus):
        shown += text[done:start] + "****" + "".join(re.findall(_GROUP, text[start:end]))[-4:]
        done = end
    return shown + text[done:]


def _card_spans(text: str, *, follows_plus: bool) -> list[tuple[int, int]]:
    """Return from where to where card numbers stand in digits in groups; those that overlap are one."""
    digits, starts, ends = "", [], {}
    for group in re.finditer(_GROUP, text):
        starts.append((len(digits), group.start()))
        digits += group[0]
        ends[len(digits)] = group.end()
    spans: list[tuple[int, int]] = []
    for place, start in starts:
        for length in _card_lengths(digits[place : place + LONGEST_BEGINNING]):
            # +49 151 23456789 is a telephone, and 13 digits that begin with 4: Visa gave up such numbers long ago.
            is_telephone = follows_plus and place == 0 and length == FEWEST_DIGITS
            if (end := ends.get(place + length)) and not is_telephone and _luhn(digits[place : place + length]):
                before = spans.pop() if spans and start < spans[-1][1] else (start, end)
                spans.append((before[0], max(before[1], end)))
    return spans


def _card_lengths(beginning: str) -> tuple[int, ...]:
    """Return how many digits a card number has that begins so; none where no card number does."""
    ranges = (lengths for first, last, lengths in _RANGES_OF[beginning[0]] if first <= beginning[: len(first)] <= last)
    return next(ranges, ())


def _luhn(number: str) -> bool:
    digits = number.encode()
    return (sum(digits[-1::-2].translate(_AS_THEY_ARE)) + sum(digits[-2::-2].translate(_DOUBLED))) % 10 == 0
