"""Debian packages are held to what an environment names, versions included."""

from __future__ import annotations

import pytest

from harness.environments.system_packages import check_named
from harness.errors import ProvisionError

BEFORE = {"libc6": "2.36-9", "libgcc-s1": "12.2.0-14"}


def test_what_is_installed_as_named_is_accepted():
    after = {**BEFORE, "libgomp1": "12.2.0-14"}
    check_named("a-1.0", ["libgomp1=12.2.0-14"], BEFORE, after)
    check_named("a-1.0", ["libgomp1=12.2.0-14", "libc6=2.36-9"], BEFORE, after)
    check_named("a-1.0", [], BEFORE, BEFORE)


def test_what_came_along_or_was_upgraded_is_refused_with_the_list_to_write():
    after = {"libc6": "2.36-10", "libgcc-s1": "12.2.0-14", "libgomp1": "12.2.0-14", "x": "1"}
    with pytest.raises(ProvisionError) as error:
        check_named("a-1.0", ["libgomp1=12.2.0-14"], BEFORE, after)
    assert "of a-1.0 are not what its env.toml names" in error.value.message
    assert "it also installed libc6=2.36-10, x=1" in error.value.message
    assert error.value.remedy.endswith(
        'system_packages = ["libc6=2.36-10", "libgomp1=12.2.0-14", "x=1"]'
    )


def test_another_version_than_named_is_refused():
    after = {**BEFORE, "libgomp1": "12.2.0-15"}
    with pytest.raises(ProvisionError) as error:
        check_named("a-1.0", ["libgomp1=12.2.0-14"], BEFORE, after)
    assert "it also installed libgomp1=12.2.0-15; it lacks libgomp1=12.2.0-14" in (
        error.value.message
    )
    assert 'system_packages = ["libgomp1=12.2.0-15"]' in error.value.remedy
