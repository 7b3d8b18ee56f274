"""The reader of PromQL that dashboards and rules are checked with."""

from __future__ import annotations

import pytest

from tests.promql import parse


@pytest.mark.parametrize(
    ("text", "matched", "grouped"),
    [
        ("up", {"up": set()}, set()),
        ('up{job=~"a|b", x!="c{}"} == 0', {"up": {"job", "x"}}, set()),
        ("sum by (a, b) (rate(m_total[5m]))", {"m_total": set()}, {"a", "b"}),
        ("sum(rate(m_total[5m])) without (c)", {"m_total": set()}, {"c"}),
        (
            'histogram_quantile(0.99, sum by (le) (rate(m_bucket{r="/x"}[1h30m] offset 5m)))',
            {"m_bucket": {"r"}},
            {"le"},
        ),
        ("a / on (x) group_left (y) b", {"a": set(), "b": set()}, {"x", "y"}),
        ("time() - max(t) > 120 and sum(l) > 0.05 * -1e3", {"t": set(), "l": set()}, set()),
        ("g:x:p99 > 1 or vector(0)", {"g:x:p99": set()}, set()),
        ("m[5m:30s]", {"m": set()}, set()),
        ("a > bool b # c", {"a": set(), "b": set()}, set()),
    ],
)
def test_metrics_and_labels_are_found(
    text: str, matched: dict[str, set[str]], grouped: set[str]
) -> None:
    """Metrics with the labels of their matchers; functions, words and strings are neither."""
    found = parse(text)
    assert (found.matched, found.grouped) == (matched, grouped)


def test_labels_that_are_made_are_known() -> None:
    """What label_replace makes need not be on the metric."""
    assert "result" in parse('label_replace(m, "result", "$1", "outcome", "(.*)")').made


@pytest.mark.parametrize("text", ["sum(a", "a)", "a[5m", 'a{b="c"', "a ? b", "sum(a}", '{b="c"}'])
def test_what_is_no_expression_is_refused(text: str) -> None:
    """Brackets that do not match and unknown signs are errors."""
    with pytest.raises(ValueError, match=r"."):
        parse(text)
