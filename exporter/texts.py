"""Untrusted texts, made safe to show. Pure; no other module escapes texts.

Names, annotations, error messages of Prometheus, answers of sidecars and contents of files may hold
anything: a line break that forges a log line, codes that recolor a terminal, marks that reverse the
direction of a text. Whatever shows a text to a person (an Event, a log line, a page, a command's
output) passes it through `visible` last; passing it twice changes nothing. The daemon uses this
module too.
"""

from __future__ import annotations

# An Event holds about 1 KiB; a log line or a command's output may list ten policies.
LONGEST_EVENT, LONGEST_LINE = 1_000, 4_000
# For a name or a value inside a sentence, so that the rest of the sentence remains visible.
LONGEST_NAME = 100


def visible(text: object, longest: int = LONGEST_LINE) -> str:
    r"""Return a text on one line, cut off after `longest` characters.

    Characters that are not printable (line breaks, control codes, marks that reverse the
    direction) are replaced by their escapes, such as `\n`, `\x1b` or `\u202e`.
    """
    whole = str(text)
    shown = whole if whole.isprintable() else "".join(map(_shown, whole[: longest + 1]))
    if len(whole) <= longest and len(shown) <= longest:
        return shown
    return shown[: longest - 1] + "…"


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
