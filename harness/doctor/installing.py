"""What virtual environments are made with here: uv, an index that answers, and what is there."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import uv

from harness.environments.pip_config import read_pip_config
from harness.environments.uv import UvError, explain, run_uv, uv_environment
from harness.errors import ProvisionError
from harness.paths import cache_dir

_INDEX_SECONDS = 15
# Any index has pip; asking for one small package is asking whether an installation would start.
_ANY_PACKAGE = "pip"


def uv_version() -> tuple[str, str]:
    """Uv's version, or why it does not start."""
    try:
        return run_uv(["--version"]).split()[1], ""
    except UvError as error:
        return "", error.failure.reason
    except (ProvisionError, OSError) as error:
        return "", str(error).splitlines()[0]


def index_reason() -> str:
    """Why no package index answers; empty where one does. Asked afresh, without any cache."""
    environment = {
        **uv_environment(os.environ),
        "UV_HTTP_RETRIES": "0",
        "UV_HTTP_TIMEOUT": "5",
    }
    with tempfile.TemporaryDirectory(prefix="harness-doctor-") as folder:
        wanted = Path(folder) / "requirements.in"
        wanted.write_text(f"{_ANY_PACKAGE}\n", encoding="ascii")
        options = ["--no-index"] if read_pip_config().no_index else []
        ask = ["pip", "compile", "--no-cache", "--quiet", "--no-deps", "--no-header", *options]
        try:
            done = subprocess.run(
                [uv.find_uv_bin(), *ask, wanted],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                cwd=folder,
                timeout=_INDEX_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"nothing came within {_INDEX_SECONDS} s"
    return explain(done.stderr, done.returncode).reason if done.returncode else ""


def installed_venvs() -> int:
    """How many virtual environments are installed already."""
    folder = cache_dir() / "venvs"
    return sum(1 for path in folder.glob("[!.]*") if path.is_dir())
