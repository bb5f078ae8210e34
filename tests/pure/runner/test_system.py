"""What files say of the system below Python, and of the packages in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from runner.system import cpu, parse_dpkg_status, parse_os_release, system_packages

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: shared libraries
 Version: this is a line of the description

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36-9

Package: adduser
Status: install ok installed
Architecture: all
Version: 3.134
"""


def test_installed_packages_are_listed_with_versions_and_removed_ones_are_not() -> None:
    assert parse_dpkg_status(STATUS) == {
        "adduser": "3.134",
        "libc6": "2.36-9+deb12u10",
        "libc6:i386": "2.36-9",
    }


def test_a_system_without_dpkg_has_no_packages(tmp_path: Path) -> None:
    assert system_packages(str(tmp_path / "absent")) == {}


def test_the_distribution_is_read_with_and_without_quotes() -> None:
    text = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n# x\nBROKEN\n'
    assert parse_os_release(text) == {
        "id": "debian",
        "version": "12",
        "name": "Debian GNU/Linux 12 (bookworm)",
    }


def test_the_processors_flags_are_sorted_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: Some CPU\nflags\t\t: sse avx2 avx\n\nmodel name\t: other\n")
    found = cpu(str(path))
    assert found["model"] == "Some CPU"
    assert found["flags"] == ["avx", "avx2", "sse"]
    assert found["flags_sha256"] == hashlib.sha256(b"avx avx2 sse").hexdigest()
