"""`harness doctor`: its table, its JSON and its exit status."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import doctor
from harness.doctor import facts as facts_module
from harness.doctor.facts import Facts
from harness.doctor.gpus import GpuSurvey

app = typer.Typer()
app.command()(doctor.command)

HEALTHY = Facts(
    engine_reason="No container engine answers (unix:///run/nothing.sock: there is no such socket).",
    engine_remedy="Install Docker and start it: `apt-get install docker.io && systemctl start docker`, "
    "or run without containers: `harness sweep --executor venv` and be done with it.",
    gpus=GpuSurvey(reason="this machine has no NVIDIA GPU"),
    memory_mib=32768,
    memory_available_mib=30000,
    python="3.11.7",
    uv="0.9.2",
    executor="venv",
    executor_reason="No container engine answers",
)


def run(monkeypatch: pytest.MonkeyPatch, facts: Facts, *arguments: str) -> tuple[int, str]:
    def gather(_store: Path) -> Facts:
        return facts

    monkeypatch.setattr(facts_module, "gather", gather)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout


def test_findings_fit_100_columns_and_remedies_stay_on_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, out = run(monkeypatch, HEALTHY)
    assert status == 0
    lines = out.splitlines()
    assert [line for line in lines if len(line) > 100 and "→" not in line] == []
    assert [line.strip() for line in lines if "apt-get" in line] == [f"→ {HEALTHY.engine_remedy}"]
    assert lines[-1].startswith("--executor auto takes venv; ")


def test_nothing_can_run_ends_with_4(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = replace(HEALTHY, uv="", uv_reason="it does not start")
    status, out = run(monkeypatch, facts)
    assert status == 4
    assert out.splitlines()[-1] == "Nothing can run here: mend a failed line."


def test_json_has_everything_also_where_nothing_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    status, out = run(monkeypatch, replace(HEALTHY, uv=""), "--json")
    assert status == 4
    document = json.loads(out)
    assert set(document) == {"checks", "auto", "machine"}
    assert {"name": "Python", "status": "ok", "finding": "3.11.7", "remedy": ""} in document[
        "checks"
    ]
