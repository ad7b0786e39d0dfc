"""Rows as a table and as JSON, and reports as the probe writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios.report import Row, table, write
from scenarios.stage import Report

ROWS = [
    Row("power-cut", "pause <= 5 s", 4.25, 0, 0, 0, "right", "", 61.4),
    Row("split", "one MASTER", None, 12, 1, 2, "wrong", "not so: one MASTER\nwith more about it", 5.0),
]


def test_the_table_has_a_line_for_each_row() -> None:
    head, first, second = (line.split(maxsplit=7) for line in table(ROWS).splitlines())
    assert head == ["scenario", "verdict", "pause", "s", "errors", "lost", "stray", "seconds  reason"]
    assert first == ["power-cut", "right", "4.2", "0", "0", "0", "61"]
    assert second == ["split", "wrong", "-", "12", "1", "2", "5", "not so: one MASTER"]


def test_the_file_has_the_fields_of_the_rows(tmp_path: Path) -> None:
    file = tmp_path / "build" / "vm-test.json"
    write(ROWS, file)
    found = json.loads(file.read_text())
    fields = "scenario expected pause_max_s errors lost_lines stray_lines verdict reason seconds"
    assert [list(row) for row in found] == [fields.split()] * 2
    assert found[1]["reason"] == ROWS[1].reason
    assert [path.name for path in file.parent.iterdir()] == ["vm-test.json"]


def test_a_report_sums_what_reading_programs_felt() -> None:
    report = Report.parse(
        '{"pauses": {"stat": 1, "read": 4.5, "write": 90}, "errors": {"open": {"EIO": 1, "ESTALE": 2},'
        ' "write": {"EROFS": 50}}, "acknowledged": 3, "lost": 0, "stray": 0, "hanging": {}}'
    )
    assert (report.pause, report.read_errors) == (4.5, 3)


@pytest.mark.parametrize("text", ["", "[]", '{"pauses": 1, "speed": 3}'])
def test_another_text_is_no_report(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        Report.parse(text)


def test_pauses_of_several_operations_at_once_are_one_wait_of_the_longest() -> None:
    gaps = {"stat": [[10.0, 13.0], [50.0, 51.0]], "open": [[10.5, 14.0]], "write": [[100.0, 300.0]]}
    assert Report(gaps=gaps).interruptions == [3.5, 1.0]
