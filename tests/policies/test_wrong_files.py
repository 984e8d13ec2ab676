"""A file that is wrong as YAML, in its keys, or on purpose."""

from __future__ import annotations

import os

import pytest

from autoscaler.adapters.policies.policy_file import PolicyFileError, load_policy
from autoscaler.units import Share
from tests.policies.files import GOOD, edited, problems_of, table

UNKNOWN_KEYS = {
    "a misspelt key, which is then not missing": (
        edited("  deployment:", "  deploymnt:"),
        "4: target.deploymnt: unknown key, did you mean deployment?",
    ),
    "another notation of a key": (
        GOOD + "  - {type: prometheus, query: up, per_replica: 4, value: 1}\n",
        "11: metrics[1].per_replica: unknown key, did you mean perReplica?",
    ),
    "another case of a key": (
        GOOD + "  - type: cpu\n    Utilization: 70%\n",
        "12: metrics[1].Utilization: unknown key, did you mean utilization?",
    ),
    "a key of another kind of metric": (
        GOOD + "    utilization: 70%\n",
        "11: metrics[0].utilization: unknown key, expected one of type, seats, learn, spare",
    ),
    "a key of a refusal target": (
        GOOD + "    spare: {refuse: 1%, x: 3}\n",
        "11: metrics[0].spare.x: unknown key, expected one of refuse, leadTime, forecast",
    ),
    "a key deep down": (
        GOOD + "behavior:\n  scaleDown:\n    stabilisationWindowSeconds: 3\n",
        (
            "13: behavior.scaleDown.stabilisationWindowSeconds:"
            " unknown key, did you mean stabilizationWindowSeconds?"
        ),
    ),
    "a key at the top": (
        GOOD + "x: 3\n",
        (
            "11: x: unknown key, expected one of name, target, replicas, metrics, interval,"
            " paused, behavior, cooldown, drain, idle, notices, placement, recycle, schedule,"
            " fallback"
        ),
    ),
    "a key that is no word": (
        GOOD + '"a\\nb": 3\n',
        (
            r'11: "a\nb": unknown key, expected one of name, target, replicas, metrics, interval,'
            " paused, behavior, cooldown, drain, idle, notices, placement, recycle, schedule,"
            " fallback"
        ),
    ),
    "a key that is a number": (
        edited("  max: 20", "  max: 20\n  3: 4"),
        '8: replicas."3": unknown key, expected one of min, max',
    ),
}

YAML_PITFALLS = {
    "a time without quotes, which is 1080": (
        GOOD + 'schedule:\n  - {from: "08:00", to: 18:00, min: 3}\n',
        (
            "12: schedule[0].to: 18:00 without quotes is a number in base 60 to many YAML readers,"
            ' expected quotes: "18:00"'
        ),
    ),
    "a time with one digit for the hour, which quotes alone do not help": (
        GOOD + 'schedule:\n  - {from: 8:00, to: "18:00", min: 3}\n',
        (
            "12: schedule[0].from: 8:00 without quotes is a number in base 60"
            ' to many YAML readers, expected quotes: "08:00"'
        ),
    ),
    "a time without quotes that happens to be text": (
        GOOD + 'schedule:\n  - {from: 08:00, to: "18:00", min: 3}\n',
        (
            "12: schedule[0].from: 08:00 without quotes is a number in base 60"
            ' to many YAML readers, expected quotes: "08:00"'
        ),
    ),
    "on": (
        edited("name: dashboards", "name: on"),
        '1: name: on without quotes means true or false to YAML, expected quotes: "on"',
    ),
    "a boolean": (
        edited("name: dashboards", "name: true"),
        "1: name: got true, expected text in quotes",
    ),
    "an octal number": (
        edited("max: 20", "max: 020"),
        "7: replicas.max: got 020, expected a whole number in plain decimal digits",
    ),
    "a number with underscores": (
        edited("max: 20", "max: 1_000"),
        "7: replicas.max: got 1_000, expected a whole number in plain decimal digits",
    ),
    "a number of 5000 digits": (
        edited("max: 20", "max: " + "9" * 5000),
        f"7: replicas.max: got {'9' * 39}…, expected a whole number in plain decimal digits",
    ),
    "a name that is a number with an exponent": (
        edited("name: dashboards", "name: 12e4"),
        "1: name: got 120000.0, expected text in quotes",
    ),
    "a key twice": (
        GOOD + "name: other\n",
        "11: name: is a duplicate key (first on line 1), expected it once",
    ),
    "a key twice deep down": (
        edited("  max: 20", "  max: 20\n  max: 30"),
        "8: replicas.max: is a duplicate key (first on line 7), expected it once",
    ),
    "a key that is a list": (
        GOOD + "? [a]\n: 3\n",
        "11: a key is a list or a mapping, expected a word",
    ),
    "a key for others to refer to": (
        "x-common: &common {cooldown: {down: 5m}}\n" + GOOD + "<<: *common\n",
        '1: "x-common": unknown key, expected an anchor (&name) at the value that uses it first',
    ),
    "yes": (
        edited("min: 2", "min: yes"),
        '6: replicas.min: yes without quotes means true or false to YAML, expected quotes: "yes"',
    ),
    "a hexadecimal number": (
        edited("max: 20", "max: 0x14"),
        "7: replicas.max: got 0x14, expected a whole number in plain decimal digits",
    ),
    "a merged value that a key of its own hides, told at its own line": (
        GOOD
        + 'schedule:\n  - &office {from: "08:00", to: "18:00", min: 3}\n'
        + "  - {min: 0, <<: *office}\n",
        "13: schedule[1].min: got 0, expected at least 1",
    ),
    "two documents": (
        GOOD + "---\n" + GOOD,
        "11: a second document starts here (---), expected one policy per file",
    ),
    "a list": (
        "- name: x\n",
        "1: got a list, expected a mapping with name, target, replicas and metrics",
    ),
    "a word": (
        "hello\n",
        '1: got "hello", expected a mapping with name, target, replicas and metrics',
    ),
    "nothing": ("", "the file is empty, expected a policy"),
    "only comments": ("# later\n", "the file is empty, expected a policy"),
    "an open bracket": (
        edited("min: 2", "min: [2"),
        (
            "7: not valid YAML: did not find expected ',' or ']',"
            " expected valid YAML; check the indentation, brackets and quotes here"
        ),
    ),
    "a colon in the text": (
        edited("name: dashboards", "name: a: b"),
        (
            "1: not valid YAML: mapping values are not allowed in this context,"
            ' expected text with ": " in it to be in quotes'
        ),
    ),
    "a tab": (
        edited("  min: 2", "\tmin: 2"),
        (
            "6: not valid YAML: found character that cannot start any token,"
            " expected spaces instead of tabs, and quotes around text that starts with a character"
            " such as % or @"
        ),
    ),
    "a space that a web page or a word processor made": (
        edited("name: dashboards", "name:\u00a0dashboards"),
        (
            "2: not valid YAML: mapping values are not allowed in this context,"
            " expected ordinary spaces, but the file has no-break spaces"
        ),
    ),
    "an alias of nothing": (
        edited("min: 2", "min: *low"),
        (
            "6: not valid YAML: found undefined alias,"
            " expected an anchor (&name) before its use (*name)"
        ),
    ),
    "a merge of a number": (
        edited("  max: 20", "  max: 20\n  <<: 3"),
        '8: replicas."<<": expected an alias of a mapping, such as *name',
    ),
}

HOSTILE = {
    "a Python tag": (
        '!!python/object/apply:os.system ["touch owned"]\n',
        '1: tag "!!python/object/apply:os.system" is rejected, expected a plain value',
    ),
    "a Python tag of a value": (
        edited("seats: 20", "seats: !!python/name:os.system"),
        '10: metrics[0].seats: tag "!!python/name:os.system" is rejected, expected a plain value',
    ),
    "a tag of one's own": (
        edited("name: dashboards", "name: !env NAME"),
        '1: name: tag "!env" is rejected, expected a plain value',
    ),
    "a binary value": (
        edited("name: dashboards", "name: !!binary aGk="),
        '1: name: tag "!!binary" is rejected, expected a plain value',
    ),
    "aliases of aliases of aliases": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
            for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "1: more than 2000 values (with expanded aliases), expected fewer",
    ),
    "a list in itself": ("&a [*a]\n", "1: nested too deeply, expected at most 20 levels"),
    "a mapping merged into itself": (
        "&a\n<<: *a\n",
        "1: nested too deeply, expected at most 20 levels",
    ),
    "250 kB of brackets": ("[" * 250_000, "1: nested too deeply, expected at most 20 levels"),
    "20 000 empty keys": (
        "?\n" * 20_000,
        "2001: more than 2000 values (with expanded aliases), expected fewer",
    ),
    "too large": ("#" * 262_145, "is larger than 256 KiB, expected a policy file"),
    "an ELF binary": (
        b"\x7fELF\x02\x01\x01\x00\xff\xfe",
        "1: is binary or in another encoding, expected UTF-8 text",
    ),
    "Latin-1": (
        GOOD.encode() + "# Größe\n".encode("latin-1"),
        "11: is binary or in another encoding, expected UTF-8 text",
    ),
    "Windows' own encoding": (
        GOOD.encode() + "# “Größe”\n".encode("cp1252"),
        "11: is binary or in another encoding, expected UTF-8 text",
    ),
    "UTF-16, which Windows calls Unicode": (
        GOOD.encode("utf-16"),
        "is UTF-16 or UTF-32 text, expected UTF-8",
    ),
    "UTF-16 without its mark": (
        GOOD.encode("utf-16-le"),
        (
            "1: not valid YAML: control characters are not allowed,"
            " expected text without control characters"
        ),
    ),
    "control characters": (
        "name: a\n\0\n",
        (
            "2: not valid YAML: control characters are not allowed,"
            " expected text without control characters"
        ),
    ),
}


@pytest.mark.parametrize(
    ("text", "problem"), table(UNKNOWN_KEYS) + table(YAML_PITFALLS) + table(HOSTILE)
)
def test_the_problem_is_told_with_its_line_and_path(write, text, problem):
    assert problems_of(write(text)) == [problem]


def test_all_problems_are_told_at_once_in_the_order_of_the_lines(write):
    text = (
        edited("min: 2", "min: 0").replace("dashboards", "My App").replace("seats: 20", "seats: on")
        + "interval: 5\n"
        + "name: other\n"
    )
    places = [problem.split(": ")[:2] for problem in problems_of(write(text))]
    assert places == [
        ["1", "name"],
        ["6", "replicas.min"],
        ["10", "metrics[0].seats"],
        ["11", "interval"],
        ["12", "name"],
    ]


def test_of_very_many_problems_the_first_hundred_are_told(write):
    problems = problems_of(write(GOOD + "".join(f"x{i}: 1\n" for i in range(300))))
    assert len(problems) == 101
    assert problems[-1] == "111: 200 more problems from here on"


def test_a_directory_is_refused(tmp_path):
    assert problems_of(tmp_path) == ["is a directory, expected a policy file"]


def test_a_missing_file_is_refused(tmp_path):
    assert problems_of(tmp_path / "none.yaml") == [
        "cannot be read (No such file or directory), expected a policy file"
    ]


def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    assert problems_of(tmp_path / "pipe.yaml") == ["is not a regular file, expected a policy file"]


def test_a_file_name_with_a_line_break_stays_on_one_line(tmp_path):
    with pytest.raises(PolicyFileError, match=r"a\\nb.yaml: cannot be read"):
        load_policy(tmp_path / "a\nb.yaml")


def test_a_byte_order_mark_is_no_error(write):
    assert load_policy(write(b"\xef\xbb\xbf" + GOOD.encode())).name == "dashboards"


def test_anchors_and_merges_save_repetition(write):
    path = write(
        GOOD
        + "schedule:\n"
        + '  - &day {days: mon-fri, from: "08:00", to: "18:00", timezone: Europe/Berlin, min: 6}\n'
        + "  - {<<: *day, days: [sat, sun], min: 2}\n"
    )
    weekday, weekend = load_policy(path).schedule
    assert weekday.days == ("mon", "tue", "wed", "thu", "fri")
    assert (weekend.days, weekend.min, weekend.timezone) == (("sat", "sun"), 2, "Europe/Berlin")


def test_of_several_merged_mappings_the_first_wins(write):
    path = write(
        GOOD
        + "schedule:\n"
        + '  - &early {from: "06:00", to: "09:00", min: 1}\n'
        + '  - &late {from: "18:00", to: "21:00", max: 9}\n'
        + "  - {<<: [*late, *early]}\n"
    )
    both = load_policy(path).schedule[2]
    assert (both.start.hour, both.min, both.max) == (18, 1, 9)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("spare: 5", 5, id="seats"),
        pytest.param("spare: 12.5%", Share(12.5), id="a share"),
    ],
)
def test_spare_seats_have_several_notations(write, text, value):
    sessions = load_policy(write(GOOD + f"    {text}\n")).sessions
    assert sessions is not None
    assert sessions.spare == value


def test_the_tolerance_of_an_hpa_can_be_pasted_as_a_quantity(write):
    policy = load_policy(write(GOOD + "behavior: {scaleUp: {tolerance: 50m}}\n"))
    assert policy.behavior is not None
    assert policy.behavior.scale_up.tolerance == 0.05
