"""Invents the personal data on specimen documents. Names are random syllables: they belong to no real person."""

import datetime
from dataclasses import dataclass

import numpy as np

_ONSETS = (*"bdfghjklmnprstvwyz", "br", "dr", "kr", "mel", "sar", "tal", "tor", "ven")
_MIDDLES = (*"aeiou", "ai", "ea", "ia")
_ENDINGS = ("la", "na", "ra", "mi", "no", "ri", "so", "ta", "vo", "len", "mar", "nor", "rin", "ras", "tan", "vik")
_PLACES = ("Alder Bay", "Cinder Hill", "Eastmere", "Fernholm", "Greyford", "Lanternwick", "Northhaven", "Oakmouth")
_STREETS = ("Almond Lane", "Beacon Road", "Copper Street", "Garden Walk", "Harbour Row", "Juniper Way", "Mill Path")


@dataclass(frozen=True)
class Person:
    """The personal data on a document."""

    given: str
    family: str
    sex: str
    born: datetime.date
    place: str
    address: str
    number: str
    issued: datetime.date
    expires: datetime.date

    @property
    def full_name(self) -> str:
        return f"{self.given} {self.family}"


def word(rng: np.random.Generator) -> str:
    """A pronounceable word without a meaning."""
    return "".join(part[int(rng.integers(len(part)))] for part in (_ONSETS, _MIDDLES, _ENDINGS))


def invent(rng: np.random.Generator) -> Person:
    """A person with a document that is valid for ten years. Its number has 12 digits and starts with 99."""
    issued = datetime.date(2019, 1, 1) + datetime.timedelta(days=int(rng.integers(0, 2200)))
    return Person(
        given=word(rng).upper(),
        family=(word(rng) + str(rng.choice(_ENDINGS))).upper(),
        sex=str(rng.choice(["F", "M"])),
        born=datetime.date(1950, 1, 1) + datetime.timedelta(days=int(rng.integers(0, 19000))),
        place=str(rng.choice(_PLACES)).upper(),
        address=f"{rng.integers(1, 99)} {rng.choice(_STREETS)}".upper(),
        number="99" + "".join(str(digit) for digit in rng.integers(0, 10, 10)),
        issued=issued,
        expires=issued + datetime.timedelta(days=3652),
    )


def day(date: datetime.date) -> str:
    """The date in the form printed on documents."""
    return f"{date.day:02d} {date:%b %Y}".upper()


def check_digit(characters: str) -> str:
    """The check digit of a machine-readable zone. Source: ICAO Doc 9303 part 3, 4.9."""
    values = (0 if c == "<" else int(c, 36) for c in characters)
    return str(sum(value * (7, 3, 1)[place % 3] for place, value in enumerate(values)) % 10)


def passport_zone(person: Person, state: str) -> tuple[str, str]:
    """The two lines of 44 characters of a passport page. Source: ICAO Doc 9303 part 4."""
    first = f"P<{state}{person.family}<<{person.given}".ljust(44, "<")[:44]
    number, born, expires = _checked_parts(person)
    optional = "<" * 14 + check_digit("<" * 14)
    second = f"{number}{state}{born}{person.sex}{expires}{optional}"
    return first, second + check_digit(number + born + expires + optional)


def card_zone(person: Person, state: str) -> tuple[str, str, str]:
    """The three lines of 30 characters of a card. Source: ICAO Doc 9303 part 5."""
    number, born, expires = _checked_parts(person)
    first = f"ID{state}{number}".ljust(30, "<")
    second = f"{born}{person.sex}{expires}{state}".ljust(29, "<")
    overall = check_digit(first[5:] + born + expires + second[18:29])
    return first, second + overall, f"{person.family}<<{person.given}".ljust(30, "<")[:30]


def _checked_parts(person: Person) -> list[str]:
    """The document number, date of birth and date of expiry, each followed by its check digit."""
    parts = ("X" + person.number[-8:], f"{person.born:%y%m%d}", f"{person.expires:%y%m%d}")
    return [part + check_digit(part) for part in parts]
