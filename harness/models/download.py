"""Downloading one file: HTTPS only, resumed, bounded, retried, and whole or not there at all."""

from __future__ import annotations

import http.client
import os
import random
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from harness.canonical import storage_errors
from harness.errors import ModelError
from harness.models.partial import Partial
from harness.progress import Progress, Task

MAX_BYTES = 4 << 30
"""The most that a file of weights may hold; the largest of the zoo is a third of a gigabyte."""
_CHUNK_BYTES = 1 << 18
_TRIES = 4
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_TIMEOUT_S = 30.0
_AGENT = "deltann-harness"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class UnreachableError(ModelError):
    """There is no way to the server: no network, no such name, a proxy that refuses."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What came.

    Attributes:
        size_bytes: of the file.
        sha256: as the server itself stated it (the Hugging Face hub does), else None.
    """

    size_bytes: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Rules:
    """How a download is done; tests replace what would reach a network or wait.

    Attributes:
        schemes: that an address may have, first and after every redirect.
        max_bytes: of the file.
        pause: waits for seconds.
        tries: how often a server that fails is asked.
    """

    schemes: tuple[str, ...] = ("https",)
    max_bytes: int = MAX_BYTES
    pause: Callable[[float], None] = field(default=time.sleep)
    tries: int = _TRIES


class _RetryError(Exception):
    """Worth another try: the server failed, or the line broke."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to allowed schemes, and keeps what the hub says of a file on the way."""

    def __init__(self, schemes: tuple[str, ...]) -> None:
        self._schemes = schemes
        self.stated: dict[str, str] = {}

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_scheme(newurl, self._schemes)
        self.note(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def note(self, headers: Message) -> None:
        """Keep the hash of a file that the hub keeps outside of git."""
        stated = (headers.get("X-Linked-ETag") or "").strip('"').lower()
        if _SHA256.fullmatch(stated):
            self.stated["sha256"] = stated


class _Meter:
    """Tells a task how far the file is; bytes that come a second time are not counted again."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._told = 0

    def at(self, size: int) -> None:
        if size > self._told:
            self._task.advance(size - self._told)
            self._told = size


def download(
    url: str,
    target: Path,
    progress: Progress,
    rules: Rules | None = None,
    size_hint: int | None = None,
) -> Downloaded:
    """Download a file; what came before a break is kept beside it, and the rest asked for later.

    Args:
        url: where it is.
        target: the file to make; it appears when it is whole.
        progress: is told of bytes.
        rules: how; None for the usual ones.
        size_hint: bytes that the file is said to have, for the bar only.

    Raises:
        UnreachableError: no network.
        ModelError: a refusal, a file that is too large, or a server that keeps failing.
        StoreError: a folder that cannot be written, or a full disk.
    """
    rules = rules or Rules()
    _check_scheme(url, rules.schemes)
    partial = Partial(target, url)
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    name = urlsplit(url).path.rsplit("/", 1)[-1]
    with progress.task(f"Downloading {name} (bytes)", size_hint) as task:
        meter = _Meter(task)
        for attempt in range(1, rules.tries + 1):
            try:
                done = _once(url, partial, meter, rules)
                break
            except _RetryError as error:
                if attempt == rules.tries:
                    raise ModelError(
                        f"{url} could not be downloaded in {attempt} tries: {error}.",
                        "The same command later goes on from what has come so far."
                        if partial.size
                        else "Try again later.",
                    ) from error
                wait = error.wait_s or _FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(1, 1.25)  # noqa: S311 - no secret
                task.describe(f"{name}: {error}; again in {wait:.0f} s")
                rules.pause(min(wait, _LONGEST_PAUSE_S))
                task.describe(f"Downloading {name} (bytes)")
    with storage_errors(target):
        partial.finish()
    return done


def _once(url: str, partial: Partial, meter: _Meter, rules: Rules) -> Downloaded:
    redirects = _Redirects(rules.schemes)
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=_certificates()), redirects
    )
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **partial.range_headers()}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme is checked
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            redirects.note(answer.headers)
            _receive(answer, partial, meter, rules)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error, partial) from error
    except urllib.error.URLError as error:
        raise _unreachable(url, error.reason) from error
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise _RetryError(f"the connection broke ({type(error).__name__})") from error
    return Downloaded(partial.size, redirects.stated.get("sha256"))


def _receive(answer: Any, partial: Partial, meter: _Meter, rules: Rules) -> None:
    start = _start_of(answer, partial)
    length = answer.headers.get("Content-Length")
    total = start + int(length) if length is not None and length.isdigit() else None
    if total is not None and total > rules.max_bytes:
        raise _too_large(answer.url, total, rules)
    with storage_errors(partial.path), partial.open(start, answer.headers) as stream:
        meter.at(start)
        have = start
        while chunk := answer.read(_CHUNK_BYTES):
            have += len(chunk)
            if have > rules.max_bytes:
                raise _too_large(answer.url, have, rules)
            stream.write(chunk)
            meter.at(have)
    if total is not None and have != total:
        raise _RetryError(f"the connection ended after {have} of {total} bytes")


def _start_of(answer: Any, partial: Partial) -> int:
    """At which byte the answer starts: 0 where the server sends the whole file."""
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
    if found is None or int(found[1]) != partial.size:
        partial.discard()
        raise _RetryError("the server sent another part than the one that was asked for")
    return int(found[1])


def _refusal(url: str, error: urllib.error.HTTPError, partial: Partial) -> Exception:
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        partial.discard()
        return _RetryError("what was here is not a part of the file", wait_s=0.01)
    if error.code in {408, 425, 429} or error.code >= 500:
        wait = error.headers.get("Retry-After") or ""
        return _RetryError(f"the server says {error.code}", float(wait) if wait.isdigit() else None)
    if error.code == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return UnreachableError(f"The proxy on the way to {_host(url)} wants a password.")
    return ModelError(
        f"{url} answers {error.code} {error.reason}.",
        "The file may have moved: look for it at its library's own page, and add it with "
        "`harness model add`.",
    )


def _unreachable(url: str, reason: object) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return UnreachableError(
            f"The certificate of {_host(url)} is not trusted here ({reason.verify_message}).",
            "Behind a proxy that opens connections, name its certificates: "
            "export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
        )
    if isinstance(reason, (TimeoutError, ConnectionResetError, ssl.SSLError)):
        return _RetryError(f"the connection broke ({reason})")
    return UnreachableError(f"{_host(url)} cannot be reached ({reason}).")


def _too_large(url: str, size: int, rules: Rules) -> ModelError:
    return ModelError(
        f"{url} sends {size} bytes or more; weights of at most {rules.max_bytes} are taken.",
        "That is no file of weights of this architecture: look at what the address gives.",
    )


def _check_scheme(url: str, schemes: tuple[str, ...]) -> None:
    if urlsplit(url).scheme not in schemes:
        raise ModelError(
            f"{url} is not an address of {' or '.join(schemes)}.",
            "Weights are only taken over a connection that nobody can change.",
        )


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _certificates() -> ssl.SSLContext:
    """The system's certificates, or those that the person named for other programs."""
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        named = os.environ.get(variable)
        if named and Path(named).is_file():
            return ssl.create_default_context(cafile=named)
    return ssl.create_default_context()
