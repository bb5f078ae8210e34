"""pip's configuration reaches uv as pip would have used it."""

from __future__ import annotations

import os
from pathlib import Path

from harness.environments.pip_config import PipConfig, config_files, read_pip_config


def conf(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_stronger_file_replaces_single_options(tmp_path: Path):
    weak = conf(tmp_path / "a.conf", "[global]\nindex-url = https://a/simple\ntimeout = 9\n")
    strong = conf(tmp_path / "b.conf", "[install]\nindex_url = https://b/simple\n")
    found = read_pip_config({}, [weak, strong])
    assert found.index_url == "https://b/simple"
    assert found.timeout == "9"


def test_the_install_section_beats_the_global_one(tmp_path: Path):
    file = conf(tmp_path / "a.conf", "[install]\nno-index = true\n[global]\nno-index = false\n")
    assert read_pip_config({}, [file]).no_index


def test_variables_beat_files_and_lists_are_split(tmp_path: Path):
    file = conf(tmp_path / "a.conf", "[global]\nextra-index-url =\n  https://a/s\n  https://b/s\n")
    assert read_pip_config({}, [file]).extra_index_urls == ("https://a/s", "https://b/s")
    found = read_pip_config({"PIP_EXTRA_INDEX_URL": "https://c/s"}, [file])
    assert found.extra_index_urls == ("https://c/s",)


def test_a_relative_folder_of_links_is_made_absolute(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = read_pip_config({"PIP_FIND_LINKS": "wheels https://host/links"}, [])
    assert found.find_links == (str(tmp_path / "wheels"), "https://host/links")


def test_a_file_that_cannot_be_parsed_is_left_to_pip(tmp_path: Path):
    assert read_pip_config({}, [conf(tmp_path / "a.conf", "no section")]) == PipConfig()


def test_uv_gets_all_of_it():
    config = PipConfig(
        index_url="https://a/simple",
        extra_index_urls=("https://b/s", "https://c/s"),
        find_links=("/wheels", "/more"),
        trusted_hosts=("host",),
        cert="/ca.pem",
    )
    assert config.as_uv_environment({}) == {
        "UV_DEFAULT_INDEX": "https://a/simple",
        "UV_INDEX": "https://b/s https://c/s",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_INSECURE_HOST": "host",
        "SSL_CERT_FILE": "/ca.pem",
    }


def test_without_an_index_only_links_are_handed_on():
    config = PipConfig(index_url="https://a/s", find_links=("/wheels",), no_index=True)
    assert config.as_uv_environment({}) == {"UV_FIND_LINKS": "/wheels"}


def test_what_is_set_for_uv_wins():
    config = PipConfig(index_url="https://pip/s", extra_index_urls=("https://x/s",), cert="/pip")
    added = config.as_uv_environment(
        {"UV_INDEX_URL": "https://uv/s", "UV_INDEX": "https://y/s", "SSL_CERT_FILE": "/own"}
    )
    assert added == {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def test_files_are_looked_for_where_pip_does(tmp_path: Path):
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "c")}
    assert tmp_path / "c" / "pip" / "pip.conf" in config_files(home)
    named = conf(tmp_path / "own.conf", "")
    files = config_files({**home, "PIP_CONFIG_FILE": str(named)})
    assert files[-1] == named
    assert tmp_path / "c" / "pip" / "pip.conf" not in files
    assert config_files({**home, "PIP_CONFIG_FILE": os.devnull}) == []
