"""How many faults and bad inputs were tried, said at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

_PREFIX = "fault: "


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """`tried(kind, number=1)` counts faults."""

    def count(kind: str, number: int = 1) -> None:
        record_property(f"{_PREFIX}{kind}", number)

    return count


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        by_kind: Counter[str] = Counter()
        by_file: Counter[str] = Counter()
        for report in terminalreporter.getreports(outcome):
            if report.when != "call":
                continue
            found = [item for item in report.user_properties if item[0].startswith(_PREFIX)]
            for name, number in found:
                by_kind[name.removeprefix(_PREFIX)] += number
            if not found:
                by_file[Path(report.nodeid.partition("::")[0]).stem.removeprefix("test_")] += 1
        for what, counts in (("faults by kind", by_kind), ("bad inputs by place", by_file)):
            if counts:
                kinds = ", ".join(f"{kind}: {number}" for kind, number in sorted(counts.items()))
                total = sum(counts.values())
                terminalreporter.write_line(f"{outcome}: {total} {what} ({kinds})")
