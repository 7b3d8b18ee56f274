"""What a simulation of a rule found, for a person: the question, a chart, each alert."""

from __future__ import annotations

from collections.abc import Iterator

from cli.alert_simulation import Firing, SimulationReport
from cli.output import RESULT, print_table
from cli.period import time_text
from flows.core.alert_messages import duration_text, value_text, window_text
from flows.core.alerts.chart import WIDTH, text_chart
from schemas.alert_rules import MEAN_METRICS, RATE_METRICS, AlertRule

FIRINGS_SHOWN = 50
_USUAL = {"up": "unusually high", "down": "unusually low", "both": "unusual"}


def print_simulation(report: SimulationReport, rule: AlertRule) -> None:
    """All of it to the standard output."""
    for line in simulation_lines(report, rule):
        RESULT.print(line, markup=False, highlight=False, soft_wrap=True)
    if report.firings:
        RESULT.print()
        print_table(
            "",
            ("fired", "lasted", "group", "value", "bound", "severity", "most on"),
            [_row(one, rule) for one in report.firings[:FIRINGS_SHOWN]],
        )
    if len(report.firings) > FIRINGS_SHOWN:
        RESULT.print(f"and {len(report.firings) - FIRINGS_SHOWN:,} more; --json has all")


def simulation_lines(report: SimulationReport, rule: AlertRule) -> Iterator[str]:
    """What stands above the table."""
    yield f"{rule.name}: {question(rule)}"
    yield ""
    is_low = rule.operator in ("<", "<=") or rule.condition_type == "absence"
    is_low = is_low or (rule.condition_type == "anomaly" and rule.direction == "down")
    values = [value for _, value in report.values]
    start_ms = report.values[0][0] if values else 0
    yield from text_chart(
        values,
        rule.threshold if rule.condition_type == "threshold" else None,
        marked=[(one.fired_at_ms - start_ms) // 10_000 for one in report.firings],
        is_low=is_low,
    )
    begin, end = (time_text(at_ms)[:16] for at_ms in (report.start_ms, report.end_ms))
    yield f"{'':10}{begin}{f'{end} UTC':>{WIDTH - len(begin)}}"
    if values:
        each = duration_text((report.end_ms - report.start_ms) // min(WIDTH, len(values)))
        what = "smallest" if is_low else "largest"
        of_group = ", of the group nearest to the bound" if rule.group_by else ""
        yield f"{'':10}{what} value of each {each}{of_group}; ▲ it would have fired"
    yield ""
    if values and all(value is None for value in values):
        needed = rule.metric in RATE_METRICS + MEAN_METRICS
        why = f": it needs {rule.min_sessions} sessions or reports in a window" if needed else ""
        yield f"{rule.metric} never had a value{why}"
    if report.open_at_start:
        yield f"{_alerts(report.open_at_start)} had fired before and held when the period began"
    fired = "It would not have fired"
    if report.firings or report.open_at_start:
        fired = _alerts(len(report.firings))
    yield f"{fired}; {report.signals:,} signals were evaluated in {report.seconds:.1f} s"


def question(rule: AlertRule) -> str:
    """A rule's condition in words."""
    if rule.condition_type == "threshold":
        told = f"{rule.metric} {rule.operator} {value_text(rule.metric, rule.threshold)}"
    elif rule.condition_type == "absence":
        told = f"no {rule.metric}"
    else:
        told = f"{rule.metric} {_USUAL[rule.direction]} by {rule.sensitivity:g} steps"
    told += f" in {window_text(rule.window_ms)}"
    if rule.group_by:
        told += f", by {' and '.join(rule.group_by)}"
    only = [f"{key} {value}" for key, value in rule.filters.items()]
    return told + (f", only {', '.join(only)}" if only else "")


def _alerts(count: int) -> str:
    return f"{count:,} alert{'' if count == 1 else 's'}"


def _row(one: Firing, rule: AlertRule) -> tuple[str, ...]:
    lasted = "not over yet"
    if one.resolved_at_ms is not None:
        lasted = duration_text(one.resolved_at_ms - one.fired_at_ms)
    bound = "" if one.threshold is None else value_text(rule.metric, one.threshold)
    return (
        time_text(one.fired_at_ms)[:19],
        lasted,
        ", ".join(f"{key}={value}" for key, value in one.group.items()),
        "" if one.value is None else value_text(rule.metric, one.value),
        bound if rule.condition_type != "absence" else "",
        one.severity,
        one.top_paths[0][0] if one.top_paths else "",
    )
