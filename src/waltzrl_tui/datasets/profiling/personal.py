"""Find personal data and secrets in a text, by kind; matches are never shown in full.

Secrets come from those detectors of detect-secrets that know one vendor's format. Its two heuristic
ones (words such as "password", strings of high entropy) are left out: in prose and code most of
their matches are wrong. Phone numbers come from phonenumbers, Google's library. E-mail addresses,
payment cards (ISO/IEC 7812, Luhn) and IBANs (ISO 13616, mod 97) need only a pattern and a checksum.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

LIMIT: Final = 64 * 1024
"""Characters of a text that are searched."""

_DETECTORS: Final = (
    ("aws", "AWSKeyDetector"),
    ("azure_storage_key", "AzureStorageKeyDetector"),
    ("basic_auth", "BasicAuthDetector"),
    ("discord", "DiscordBotTokenDetector"),
    ("github_token", "GitHubTokenDetector"),
    ("gitlab_token", "GitLabTokenDetector"),
    ("jwt", "JwtTokenDetector"),
    ("mailchimp", "MailchimpDetector"),
    ("npm", "NpmDetector"),
    ("openai", "OpenAIDetector"),
    ("private_key", "PrivateKeyDetector"),
    ("pypi_token", "PypiTokenDetector"),
    ("sendgrid", "SendGridDetector"),
    ("slack", "SlackDetector"),
    ("square_oauth", "SquareOAuthDetector"),
    ("stripe", "StripeDetector"),
    ("telegram_token", "TelegramBotTokenDetector"),
    ("twilio", "TwilioKeyDetector"),
)
# Each of these formats has a word of this length, or one of these marks.
_LONG_WORD: Final = 20
_MARKS: Final = ("://", "PRIVATE KEY")

_LOCAL = re.compile(r"[A-Za-z0-9._%+-]{1,64}$")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])")
# RFC 2606: reserved names.
_RESERVED = re.compile(
    r"(?:^|\.)(?:example\.(?:com|net|org)|example|test|invalid|localhost)$", re.I
)
_DIGITS = re.compile(r"\d(?:[ ().\-/]{0,2}\d){6}")
_FEWEST_DIGITS: Final = 7
_NO_DIGITS: Final = bytes(set(range(128)) - set(b"0123456789"))
_CARD = re.compile(r"(?<![\d.,-])[3-6]\d{3}(?:[ -]?\d){8,15}(?![\d-]|[.,]\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")


@dataclass(frozen=True, slots=True)
class PersonalMatch:
    """Something that should not be learned.

    Attributes:
        kind: "e-mail", "phone", "card", "IBAN", or the vendor's secret, such as "GitHub Token".
        shown: Its first characters, a quarter of it at most.
    """

    kind: str
    shown: str


def find_personal(text: str) -> list[PersonalMatch]:
    """The personal data and secrets in the first `LIMIT` characters of `text`, once each."""
    text = text[:LIMIT]
    matches: dict[PersonalMatch, None] = {}
    if "@" in text:
        matches |= dict.fromkeys(PersonalMatch("e-mail", mask(each)) for each in _emails(text))
    # Counting digits costs a tenth of the search for seven close to each other.
    many = not text.isascii() or len(text.encode().translate(None, _NO_DIGITS)) >= _FEWEST_DIGITS
    if many and _DIGITS.search(text):
        rest = text
        for kind, number in _numbers(text):
            matches[PersonalMatch(kind, mask(number))] = None
            rest = rest.replace(number, "\n")
        matches |= dict.fromkeys(PersonalMatch("phone", mask(each)) for each in _phones(rest))
    if any(mark in text for mark in _MARKS) or max(map(len, text.split()), default=0) >= _LONG_WORD:
        matches |= dict.fromkeys(PersonalMatch(kind, mask(each)) for kind, each in _secrets(text))
    return list(matches)


def mask(secret: str) -> str:
    """The first characters of `secret`, at most 4 and at most a quarter of it."""
    return f"{secret[: min(4, len(secret) // 4)]}…"


def _emails(text: str) -> Iterator[str]:
    # From each "@" outwards: a pattern for all of it would try every start in a long word.
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text[max(0, at - 64) : at])
        domain = _DOMAIN.match(text, at + 1)
        if local and domain and not _RESERVED.search(domain[0]):
            yield f"{local[0]}@{domain[0]}"
        at = text.find("@", at + 1)


def _numbers(text: str) -> Iterator[tuple[str, str]]:
    for card in _CARD.finditer(text):
        digits = re.sub(r"\D", "", card[0])
        if len(digits) >= 13 and _luhn(digits):
            yield "card", card[0]
    for iban in _IBAN.finditer(text):
        if _mod97(iban[0].replace(" ", "")):
            yield "IBAN", iban[0]


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0 and len(set(digits)) > 1


def _mod97(iban: str) -> bool:
    if not 15 <= len(iban) <= 34:
        return False
    return int("".join(str(int(each, 36)) for each in iban[4:] + iban[:4])) % 97 == 1


def _phones(text: str) -> Iterator[str]:
    from phonenumbers import Leniency, PhoneNumberMatcher

    # Numbers of other countries need a leading "+".
    for match in PhoneNumberMatcher(text, "US", leniency=Leniency.VALID, max_tries=100):
        yield match.raw_string


def _secrets(text: str) -> Iterator[tuple[str, str]]:
    for kind, analyse in _detectors():
        for secret in analyse(text):
            yield kind, secret


@cache
def _detectors() -> tuple[tuple[str, Callable[[str], Iterator[str]]], ...]:
    from importlib import import_module

    detectors = []
    for module, name in _DETECTORS:
        detector: Any = getattr(import_module(f"detect_secrets.plugins.{module}"), name)()
        detectors.append((str(detector.secret_type), detector.analyze_string))
    return tuple(detectors)
