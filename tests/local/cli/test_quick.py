"""`harness sweep` with nothing said, twice; and the same from an installed wheel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import uv
from support.command import Harness

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_quick_sweep_compares_three_stacks_and_is_resumed(
    harness: Harness, tmp_path: Path
) -> None:
    first = harness("sweep", "--json")
    assert first.status == 0, first.err
    result = first.json
    assert len(result["cells"]) == 3
    assert len({c["stack"] for c in result["cells"]}) == 2
    assert len({c["environment"] for c in result["cells"]}) == 3
    assert len(result["controls"]) == 1
    assert result["controls"][0]["role"] == "control"
    for pair in result["pairs"]:
        assert pair["axes"] == ["environment"] or "backend" in pair["axes"]
        assert pair["time_low"] <= pair["time_ratio"] <= pair["time_high"]
    [page] = (tmp_path / "results" / "reports").glob("*.html")
    assert "://" not in page.read_text()
    second = harness("sweep")
    assert second.status == 0, second.err
    assert "resumed" in second.out
    assert "Next, your own: harness sweep --model" in second.out
    assert (
        "Loading" not in second.err or "Timed again, as its times so far are INVALID" in second.err
    )
    # On a busy machine times are taken again once, and that is all.
    third = harness("sweep")
    assert "Timing" not in third.err
    assert "Loading" not in third.err


def test_the_quick_models_labels_spread_and_its_margins_vary(harness: Harness) -> None:
    assert harness("sweep", "--json").status == 0
    rows = harness(
        "query",
        "SELECT count(DISTINCT class) AS classes FROM top1 JOIN cells ON key = cell "
        "WHERE environment = 'onnxruntime-1.31' AND role = 'cell'",
        "--json",
    ).json["rows"]
    assert rows[0][0] >= 10
    [[low, high]] = harness(
        "query",
        "SELECT min(m) AS low, max(m) AS high FROM (SELECT max(score) - min(score) AS m "
        'FROM answers WHERE "rank" < 2 GROUP BY cell, image)',
        "--json",
    ).json["rows"]
    assert low < 1e-3
    assert high > 1


def test_an_installed_wheel_works_from_any_folder(
    tmp_path: Path, surroundings: dict[str, str]
) -> None:
    """Environments, runner and shipped sweeps travel in the wheel."""
    program = uv.find_uv_bin()

    def call(*arguments: object) -> str:
        done = subprocess.run(
            [*map(str, arguments)],
            cwd=tmp_path,
            env=surroundings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    pip = (sys.executable, "-m", "pip")
    call(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, REPOSITORY)
    [wheel] = tmp_path.glob("*.whl")
    call(program, "venv", "--quiet", "--python", sys.executable, tmp_path / "fresh")
    python = tmp_path / "fresh" / "bin" / "python"
    # Its dependencies are the ones of this interpreter: only the package itself is new.
    call(program, "pip", "install", "--quiet", "--no-deps", "--python", python, wheel)
    site = next((tmp_path / "fresh").glob("lib/python*/site-packages"))
    ours = [entry for entry in sys.path if entry.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(ours) + "\n")
    where = call(python, "-c", "import harness, sys; print(harness.__file__)").strip()
    assert str(site) in where
    listed = json.loads(call(python, "-m", "harness.cli.main", "env", "list", "--json"))
    assert {e["name"] for e in listed["environments"]} >= {
        *("onnxruntime-1.31", "onnxruntime-1.17", "openvino-2026.4", "litert-2.3", "torch-2.13"),
    }
    result = json.loads(call(python, "-m", "harness.cli.main", "sweep", "--json"))
    assert {c["status"] for c in result["cells"]} == {"done"}
