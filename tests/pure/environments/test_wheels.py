"""Which wheels fit a base, which of several is taken, and what pip's complaints mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environments.pip_download import Secrets, explain_pip, pip_environment
from harness.environments.wheels import Target, choose_wheels, locked
from harness.errors import EnvironmentSpecError

BOOKWORM = Target("3.11", "x86_64", "2.36")


def test_platforms_go_from_the_newest_c_library_to_the_oldest():
    platforms = BOOKWORM.platforms
    assert platforms[:2] == ["manylinux_2_36_x86_64", "manylinux_2_35_x86_64"]
    assert platforms[-3:] == ["manylinux_2_5_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    at = platforms.index("manylinux_2_17_x86_64")
    assert platforms[at + 1] == "manylinux2014_x86_64"
    assert Target("3.13", "aarch64", "").platforms[0] == "manylinux_2_28_aarch64"


def test_a_lock_gives_versions_and_every_hash():
    a, b = "a" * 64, "b" * 64
    text = f"# made\nNumPy==2.4.6 \\\n    --hash=sha256:{a} \\\n    --hash=sha256:{b}\nx==1 --hash=sha256:{a}\n"
    assert locked(text) == {"numpy": ("2.4.6", (a, b)), "x": ("1", (a,))}


def test_the_wheel_that_fits_best_is_taken_as_pip_does(tmp_path: Path):
    for name in (
        "numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl",
        "numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl",
        "numpy-2.4.6-cp311-cp311-manylinux_2_39_x86_64.whl",
        "numpy-2.4.6-cp311-cp311-musllinux_1_2_x86_64.whl",
        "numpy-2.4.6-cp312-cp312-manylinux_2_28_x86_64.whl",
        "crypt-1.0-cp37-abi3-manylinux_2_17_x86_64.whl",
        "crypt-1.0-cp311-abi3-manylinux_2_17_x86_64.whl",
        "pure-1.0-py3-none-any.whl",
        "other-1.0-py3-none-any.whl",
        "not a wheel.whl",
    ):
        (tmp_path / name).touch()
    wanted = {"numpy": ("2.4.6", ()), "crypt": ("1.0", ()), "pure": ("1.0", ())}
    chosen = choose_wheels(tmp_path, wanted, BOOKWORM)
    assert {name: path.name for name, path in chosen.items()} == {
        "numpy": "numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl",
        "crypt": "crypt-1.0-cp311-abi3-manylinux_2_17_x86_64.whl",
        "pure": "pure-1.0-py3-none-any.whl",
    }
    assert "numpy" not in choose_wheels(tmp_path, wanted, Target("3.13", "x86_64", "2.41"))


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (
            "ERROR: Ignored the following versions that require a different python version: 1.3\n"
            "ERROR: Could not find a version that satisfies the requirement a==9 (from versions: 1)\n"
            "ERROR: No matching distribution found for a==9\n",
            "no-wheel",
            "Could not find a version that satisfies the requirement a==9",
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"
            "    numpy==2.4.6 from https://user:secret@index/numpy.whl:\n"
            "        Expected sha256 00\n             Got        11\n",
            "hash",
            "Hash mismatch: numpy==2.4.6 from https://****@index/numpy.whl",
        ),
        (
            "WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError(': "
            "Failed to establish a new connection: [Errno 111] Connection refused')': /simple/a/\n"
            "ERROR: Could not find a version that satisfies the requirement a==9\n",
            "network",
            "Connection refused",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
            "storage",
            "No space left on device",
        ),
        ("", "other", "exit status 7"),
    ],
)
def test_pips_complaints_become_a_kind_and_one_line(said, kind, words):
    failure = explain_pip(said, 7)
    assert failure.kind == kind
    assert words in failure.reason
    assert "\n" not in failure.reason
    assert "secret" not in failure.reason


def test_named_certificates_and_configuration_win_over_the_machines_own(tmp_path: Path):
    bundle, conf = tmp_path / "ca.crt", tmp_path / "pip.conf"
    bundle.touch()
    conf.touch()
    given = {"PIP_CERT": "/etc/other", "PIP_TARGET": "/elsewhere", "PATH": "/bin"}
    assert pip_environment(given, Secrets(bundle, conf)) == {
        "PIP_CERT": str(bundle),
        "PIP_CONFIG_FILE": str(conf),
        "PATH": "/bin",
    }
    assert pip_environment(given, Secrets()) == {"PIP_CERT": "/etc/other", "PATH": "/bin"}
    with pytest.raises(EnvironmentSpecError, match="named by --pip-conf"):
        pip_environment({}, Secrets(pip_conf=tmp_path / "nowhere"))
