"""`harness doctor` on the machine that runs the tests, and on one whose engine is gone."""

from __future__ import annotations

import os
from pathlib import Path

from support.command import harness_in


def test_an_engine_that_is_gone_is_said_with_its_remedy(
    surroundings: dict[str, str], tmp_path: Path
) -> None:
    gone = {**surroundings, "DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"}
    done = harness_in(tmp_path, gone)("doctor", "--json", "--store", str(tmp_path / "store"))
    assert done.status == 0
    found = done.json
    engine = next(check for check in found["checks"] if check["name"] == "engine")
    assert engine["status"] == "warning"
    assert f"unix://{tmp_path}/nothing.sock: there is no such socket" in engine["finding"]
    assert "--executor venv" in engine["remedy"]
    assert found["auto"]["executor"] == "venv"
    assert found["machine"]["cpu"]["logical_cores"] == os.cpu_count()


def test_it_changes_nothing(surroundings: dict[str, str], tmp_path: Path) -> None:
    own = {
        **surroundings,
        "HARNESS_CACHE": str(tmp_path / "c"),
        "HARNESS_HOME": str(tmp_path / "h"),
    }
    done = harness_in(tmp_path, own)("doctor")
    assert done.status == 0
    assert "--executor auto takes " in done.out
    assert list(tmp_path.iterdir()) == []


def test_without_engine_and_index_nothing_can_run(
    surroundings: dict[str, str], tmp_path: Path
) -> None:
    alone = {
        **surroundings,
        "DOCKER_HOST": f"unix://{tmp_path}/nothing.sock",
        "HARNESS_CACHE": str(tmp_path / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "0",
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_FIND_LINKS": "",
        "PIP_FIND_LINKS": "",
        "PIP_EXTRA_INDEX_URL": "",
        "UV_INDEX": "",
    }
    done = harness_in(tmp_path, alone)("doctor")
    assert done.status == 4
    assert "failed   package index  none answers" in done.out
    assert "Nothing can run here" in done.out
