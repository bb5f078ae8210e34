"""What uv says becomes one clear reason, without secrets."""

from __future__ import annotations

import pytest

from harness.environments.uv import as_harness_error, explain, redact, uv_environment
from harness.errors import ProvisionError, StoreError

MISSING = """error: No solution found when resolving dependencies
  cause: Because there is no version of onnxruntime==1.99 and you require onnxruntime==1.99, we can conclude that your requirements are unsatisfiable.
"""
NO_WHEEL = """warning: The requested Python version 3.13 is not available; 3.11.7 will be used to build dependencies instead.
error: No solution found when resolving dependencies
  cause: Because onnxruntime==1.17.3 has no wheels with a matching Python ABI tag (e.g., `cp313`) and you require onnxruntime==1.17.3, we can conclude that your requirements are unsatisfiable.

hint: You require CPython 3.13 (`cp313`), but we only found wheels for `onnxruntime` (v1.17.3) with the following Python ABI tags: `cp38`, `cp39`, `cp310`, `cp311`, `cp312`
"""
TAGS = (
    "onnxruntime==1.17.3 has no wheels with a matching Python ABI tag (e.g., `cp313`); "
    "there are wheels for Python 3.8, 3.9, 3.10, 3.11, 3.12"
)
UNKNOWN = """error: No solution found when resolving dependencies
  cause: Because nonesuch was not found in the package registry and you require nonesuch==1.0, we can conclude that your requirements are unsatisfiable.
"""
OFFLINE = """error: Request failed after 3 retries in 3.2s
  cause: Failed to fetch: `https://user:hunter2@index.invalid/simple/numpy/`
  cause: error sending request for url (https://user:hunter2@index.invalid/simple/numpy/)
  cause: client error (Connect)
  cause: dns error
  cause: failed to lookup address information: Name or service not known
"""
FULL = """error: Failed to install: numpy-2.4.6.whl
  cause: failed to write to file `/cache/x`: No space left on device (os error 28)
"""
HASH = """error: Failed to download `numpy==2.4.6`
  cause: Hash mismatch for `numpy==2.4.6`

         Expected:
           sha256:00

         Computed:
           sha256:89cd
"""


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        (MISSING, "version", "there is no version of onnxruntime==1.99"),
        (
            NO_WHEEL,
            "no-wheel",
            TAGS,
        ),
        (UNKNOWN, "package", "nonesuch was not found in the package registry"),
        (HASH, "hash", "Failed to download `numpy==2.4.6`: Hash mismatch for `numpy==2.4.6`"),
        ("", "other", "exit status 2"),
    ],
)
def test_the_telling_words_are_found(said: str, kind: str, reason: str):
    failure = explain(said, status=2)
    assert (failure.kind, failure.reason) == (kind, reason)


def test_a_warning_about_the_network_is_not_the_reason():
    warning = "warning: A managed Python could not be downloaded\n  cause: dns error\n"
    assert explain(warning + MISSING).kind == "version"


def test_an_unreachable_index_is_told_with_a_remedy_and_without_the_password():
    failure = explain(OFFLINE)
    error = as_harness_error(failure, "Environment x cannot be installed")
    assert isinstance(error, ProvisionError)
    assert "index.invalid" in str(error)
    assert "Name or service not known" in str(error)
    assert "PIP_INDEX_URL" in str(error)
    assert "hunter2" not in str(error)
    assert "user" not in failure.reason


def test_a_full_disk_is_a_store_error():
    error = as_harness_error(explain(FULL), "Environment x cannot be installed")
    assert isinstance(error, StoreError)
    assert "No space left on device at /cache/x" in str(error)


def test_credentials_are_removed_wherever_they_stand():
    text = "see https://me:p%40ss@host/simple and http://token@other/x, mail a@b.org"
    assert redact(text) == "see https://****@host/simple and http://****@other/x, mail a@b.org"


def test_the_indexes_of_a_folder_come_after_the_configured_ones():
    given = {"UV_INDEX": "https://mine/s", "UV_FIND_LINKS": "/w", "PIP_CONFIG_FILE": "/dev/null"}
    made = uv_environment(given, ["https://upstream/s"], ["https://links"])
    assert made["UV_INDEX"] == "https://mine/s https://upstream/s"
    assert made["UV_FIND_LINKS"] == "/w,https://links"
    assert made["UV_INDEX_STRATEGY"] == "unsafe-best-match"


def test_the_callers_own_python_settings_do_not_leak_in():
    given = {"VIRTUAL_ENV": "/v", "PYTHONPATH": "/p", "UV_PYTHON": "3.9", "HOME": "/h"}
    made = uv_environment({**given, "PIP_CONFIG_FILE": "/dev/null"})
    assert not {"VIRTUAL_ENV", "PYTHONPATH", "UV_PYTHON"} & set(made)
    assert made["HOME"] == "/h"
