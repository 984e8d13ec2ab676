"""Notations that a policy may use, and what they mean."""

from __future__ import annotations

import pytest

from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.policy import Drain
from tests.policies.files import GOOD, edited


@pytest.mark.parametrize(
    ("drain", "told_after"),
    [
        pytest.param("", 3_600.0, id="no drain: an hour"),
        pytest.param("drain: {settle: 5s}\n", 3_600.0, id="not given: an hour"),
        pytest.param("drain: {tell: 90m}\n", 5_400.0, id="a duration"),
        pytest.param("drain: {tell: never}\n", None, id="never"),
    ],
)
def test_a_policy_says_after_how_long_waiting_pods_are_told(write, drain, told_after):
    loaded = load_policy(write(GOOD + drain)).drain
    assert isinstance(loaded, Drain)
    assert loaded.tell == told_after


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("dash.v2", id="with a dot"),
        pytest.param("a" * 253, id="of 253 characters"),
        pytest.param("a.b-c.3", id="of several labels"),
    ],
)
def test_a_deployment_has_the_name_of_a_subdomain(write, name):
    assert load_policy(write(edited("bokeh-app", name))).target.deployment == name


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufeff" + GOOD, id="a byte order mark"),
        pytest.param(GOOD.replace("\n", "\r\n"), id="the line ends of Windows"),
        pytest.param("\ufeff" + GOOD.replace("\n", "\r\n"), id="both"),
        pytest.param(GOOD.replace("\n", "\r"), id="the line ends of old Macs"),
        pytest.param("---\n" + GOOD + "...\n", id="the marks of one document"),
        pytest.param(GOOD.rstrip("\n"), id="no last line end"),
    ],
)
def test_a_file_may_come_from_any_editor(write, text):
    assert load_policy(write(text)) == load_policy(write(GOOD))


@pytest.mark.parametrize(
    "query",
    [
        pytest.param('label_replace(up, "a", "$1", "b", "(.*)") * 2', id="a group of a match"),
        pytest.param('sum(x{path=~"/a/.*$"})', id="the end of a text"),
        pytest.param('x{a="{{"}', id="braces in a label"),
    ],
)
def test_a_query_may_have_dollars_and_braces_of_its_own(write, query):
    text = GOOD + f"  - {{type: prometheus, query: '{query}', value: 1}}\n"
    assert load_policy(write(text)).metrics[1].query == query
