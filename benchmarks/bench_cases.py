"""Every case of cases.py. Nothing is asserted of a time.

python -m pytest benchmarks/               measure and show
python -m pytest benchmarks/ --record      and write benchmarks/results/<device>.json
python -m benchmarks.table --write         and put that into the README

Where there is a GPU, ``python -m benchmarks.gpu`` measures the cases of TensorRT and what else is to be known of it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.cases import Case, cases


@pytest.mark.parametrize(("name", "case"), cases().items(), ids=list(cases()))
def bench(name: str, case: Case, measure: Callable[[str, Case], None]) -> None:
    measure(name, case)
