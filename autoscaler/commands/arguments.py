"""Conversion of the values of options, with errors that say what was expected."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from autoscaler.model import TargetRef
from autoscaler.simulation.goals import Goal, goal
from autoscaler.units import seconds

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def add_journals(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the files of a journal."""
    parser.add_argument(
        "journals",
        metavar="FILE",
        type=Path,
        nargs="+",
        help="journal of `autoscaler run --journal`, with its older files, in any order",
    )


def add_price(parser: argparse._ActionsContainer) -> None:
    """Add the option for the price of a replica-hour."""
    parser.add_argument(
        "--price",
        type=price,
        metavar="AMOUNT/h",
        help="price of a replica-hour in any currency, such as 0.12/h, to show the cost",
    )


def label_name(text: str) -> str:
    """Return a name that is the value of a label too, such as a policy's."""
    return _named(text, _LABEL, "at most 63 lower-case letters, digits and hyphens")


def object_name(text: str) -> str:
    """Return a name that a Deployment may have."""
    return _named(text, _OBJECT, "at most 253 lower-case letters, digits, hyphens and dots")


def _named(text: str, pattern: re.Pattern[str], wanted: str) -> str:
    if not pattern.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected {wanted}")
    return text


def address(text: str) -> tuple[str, int]:
    """Return the host, which may be empty, and the port of an address to listen at."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r}: expected [HOST]:PORT, such as :9551")
    return host.strip("[]"), int(port)


def is_web_address(text: str) -> bool:
    """Return whether a text has the scheme and the host of a web server, and no wrong port."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port or an IPv6 address
        return False


def web_address(text: str) -> str:
    """Return an address with its scheme and host, which is not asked yet."""
    if not is_web_address(text):
        wanted = "expected an address with http:// or https://, such as http://localhost:9551"
        raise argparse.ArgumentTypeError(f"{text!r}: {wanted}")
    return text


def target(text: str) -> TargetRef:
    """Return the Deployment that NAMESPACE/DEPLOYMENT names. Raises ArgumentTypeError."""
    namespace, _, name = text.partition("/")
    if not namespace or not name or "/" in name:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAMESPACE/DEPLOYMENT")
    return TargetRef(namespace, name)


def duration(text: str) -> float:
    """Return a duration such as 5m in seconds."""
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def positive_duration(text: str) -> float:
    """Return a duration above 0s in seconds."""
    if (value := duration(text)) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected more than 0s")
    return value


def timezone(text: str) -> str:
    """Return the name of a time zone."""
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        wanted = "expected a time zone name, such as Europe/Berlin"
        raise argparse.ArgumentTypeError(f"{text!r}: {wanted}") from None
    return text


def whole(text: str, low: int, high: int) -> int:
    """Return a whole number within bounds."""
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, {low} to {high}")
    return int(text)


def chosen_goal(text: str) -> Goal:
    """Return a goal, such as `cut == 0`."""
    try:
        return goal(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def price(text: str) -> float:
    """Return the price of a replica-hour, such as 0.12/h."""
    try:
        return amount(text.removesuffix("/h"))
    except argparse.ArgumentTypeError:
        wanted = "expected a number of at least 0, such as 0.12/h"
        raise argparse.ArgumentTypeError(f"{text!r}: {wanted}") from None


def amount(text: str) -> float:
    """Return a number of at least 0."""
    number = float(text) if _NUMBER.fullmatch(text) else -1.0
    if not 0.0 <= number <= 1_000_000.0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of at least 0")
    return number
