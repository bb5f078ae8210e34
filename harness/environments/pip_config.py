"""pip's configuration, read as pip does, in the form that uv understands (uv does not read it)."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# What of pip's options matters to where packages come from.
_LISTS = ("extra-index-url", "find-links", "trusted-host")
_SCALARS = ("index-url", "cert", "client-cert", "proxy", "timeout", "default-timeout", "no-index")
_SECTIONS = ("global", "install")


@dataclass(frozen=True)
class PipConfig:
    """Where pip would take packages from. URLs may hold credentials: never print one."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    no_index: bool = False
    cert: str = ""
    client_cert: str = ""
    proxy: str = ""
    timeout: str = ""

    def as_uv_environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Variables to add to `given` so that uv behaves as pip would; those set there win.

        pip takes the best version over all indexes, so extra indexes bring uv's
        `unsafe-best-match` strategy with them. uv has no variable for `no_index`: its option
        `--no-index` is for the caller to add.
        """
        indexed = not self.no_index
        wanted = {
            "UV_DEFAULT_INDEX": self.index_url if indexed else "",
            "UV_INDEX": " ".join(self.extra_index_urls) if indexed else "",
            "UV_FIND_LINKS": ",".join(self.find_links),
            "UV_INSECURE_HOST": " ".join(self.trusted_hosts),
            "UV_INDEX_STRATEGY": "unsafe-best-match" if self.extra_index_urls else "",
            "UV_HTTP_TIMEOUT": self.timeout,
            "SSL_CERT_FILE": self.cert,
            "SSL_CLIENT_CERT": self.client_cert,
            "ALL_PROXY": self.proxy,
        }
        if "UV_INDEX_URL" in given:
            wanted["UV_DEFAULT_INDEX"] = ""
        if "UV_EXTRA_INDEX_URL" in given:
            wanted["UV_INDEX"] = ""
        if any(name in given for name in ("HTTPS_PROXY", "https_proxy", "all_proxy")):
            wanted["ALL_PROXY"] = ""
        return {name: value for name, value in wanted.items() if value and name not in given}


def read_pip_config(
    environ: Mapping[str, str] = os.environ, files: Iterable[Path] | None = None
) -> PipConfig:
    """Read pip's files (global, user, site, `PIP_CONFIG_FILE`) and its `PIP_*` variables.

    A later source replaces an option of an earlier one, as in pip. Files that cannot be read or
    parsed are left to pip to complain about.
    """
    options: dict[str, str] = {}
    for path in config_files(environ) if files is None else files:
        options.update(_read_file(path))
    for option in (*_LISTS, *_SCALARS):
        if value := environ.get(f"PIP_{option.upper().replace('-', '_')}", "").strip():
            options[option] = value
    return PipConfig(
        index_url=_absolute(options.get("index-url", "")),
        extra_index_urls=_locations(options.get("extra-index-url", "")),
        find_links=_locations(options.get("find-links", "")),
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        no_index=options.get("no-index", "").lower() in {"1", "true", "yes", "on"},
        cert=_absolute(options.get("cert", "")),
        client_cert=_absolute(options.get("client-cert", "")),
        proxy=options.get("proxy", ""),
        timeout=options.get("timeout") or options.get("default-timeout", ""),
    )


def config_files(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The files that pip reads, weakest first (see "Configuration" in pip's documentation)."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    name = "pip.ini" if os.name == "nt" else "pip.conf"
    home = Path(environ.get("HOME") or Path.home())
    if os.name == "nt":
        global_files = [Path(environ.get("PROGRAMDATA", "C:/ProgramData")) / "pip" / name]
        user_files = [home / "pip" / name, Path(environ.get("APPDATA", home)) / "pip" / name]
    else:
        shared = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
        global_files = [Path(part) / "pip" / name for part in shared.split(os.pathsep)]
        global_files.append(Path("/etc") / name)
        user_files = [home / ".pip" / name]
        if sys.platform == "darwin":
            global_files.insert(0, Path("/Library/Application Support/pip") / name)
            user_files.append(home / "Library/Application Support/pip" / name)
        user_files.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / name)
    if named and Path(named).exists():
        user_files = []
    files = [*global_files, *user_files, Path(sys.prefix) / name]
    return [*files, Path(named)] if named else files


def _read_file(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError):
        return {}
    found: dict[str, str] = {}
    for section in _SECTIONS:
        if parser.has_section(section):
            for key, value in parser.items(section):
                found[key.replace("_", "-").removeprefix("--")] = value.strip()
    return {key: value for key, value in found.items() if key in _LISTS or key in _SCALARS}


def _locations(text: str) -> tuple[str, ...]:
    return tuple(_absolute(part) for part in text.split())


def _absolute(location: str) -> str:
    """A local path made absolute: uv is started from another folder than pip would be."""
    if not location or "://" in location:
        return location
    return str(Path(location).expanduser().absolute())
