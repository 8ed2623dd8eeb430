from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import edgecolor
from benchmarks.cases import Call, Case, reference_network
from benchmarks.record import RESULTS, figures, peak_rss_mb, seconds, write


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("edgecolor")
    group.addoption("--record", action="store_true", help="write the figures to RESULTS/<device>.json")
    group.addoption("--results", type=Path, default=RESULTS, help="folder for --record (default: benchmarks/results)")
    group.addoption("--seconds", type=float, default=10, help="to spend on each case (default: 10)")


@pytest.fixture(scope="session")
def network() -> Call:
    return reference_network(edgecolor.load())


@pytest.fixture(scope="session")
def records(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """What was measured so far; written at the end if that is asked for."""
    measured: dict[str, Any] = {}
    yield measured
    if request.config.getoption("record") and measured:
        path = write(request.config.getoption("results"), measured)
        request.config.get_terminal_writer().line(f"\n{path}")


@pytest.fixture
def measure(
    request: pytest.FixtureRequest, benchmark: Any, network: Call, records: dict[str, Any]
) -> Callable[[str, Case], None]:
    """Times a case round by round, the bare network before each round."""

    def run(name: str, case: Case) -> None:
        call, paces = case.prepare(), []
        call(), network()
        once = seconds(call) + seconds(network)
        rounds = min(1000, max(case.rounds, round(request.config.getoption("seconds") / once)))
        benchmark.pedantic(call, setup=lambda: paces.append(seconds(network)), rounds=rounds)
        if benchmark.stats is not None:  # it is with --benchmark-disable
            measured = figures(benchmark.stats.stats.data, paces)
            records[name] = {"title": case.title, **measured, "peak_rss_mb": peak_rss_mb(name)}

    return run
