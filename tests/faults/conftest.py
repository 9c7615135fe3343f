"""How many faults were tried, said at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

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
        counts: Counter[str] = Counter()
        for report in terminalreporter.getreports(outcome):
            if report.when == "call":
                for name, number in report.user_properties:
                    if name.startswith(_PREFIX):
                        counts[name.removeprefix(_PREFIX)] += number
        if counts:
            kinds = ", ".join(f"{kind}: {number}" for kind, number in sorted(counts.items()))
            terminalreporter.write_line(f"faults in tests that {outcome}: {kinds}")
