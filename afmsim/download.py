"""One gzipped file from a server, robustly: retried where it helps, refused where it does not, and never half there."""

import gzip
import http.client
import random
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from afmsim.secure_http import TryAgainError, answer_problem, checked_base_url, opener_for
from hpc.atomic_file import atomic_write

_CHUNK_BYTES = 2**16
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_UNPACKED_BYTES = 2**30
_USER_AGENT = "afm-recon (urllib)"


@dataclass(frozen=True)
class DownloadSettings:
    """Patience and limits of a download."""

    num_attempts: int = 5
    stall_timeout_s: float = 30.0
    """time without a byte after which an attempt ends"""
    attempt_timeout_s: float = 900.0
    """time for a whole attempt, against servers that send a byte now and then"""
    first_delay_s: float = 1.0
    """pause after the first failed attempt, doubled after each further one"""
    max_delay_s: float = 120.0
    """longest pause, also when the server asks for one"""
    max_bytes: int = 200_000_000
    """largest file, as it is sent"""


class DownloadError(ValueError):
    """A file could not be had; the message is one sentence for the user."""

    def __init__(self, reason: str, num_attempts: int) -> None:
        super().__init__(reason)
        self.num_attempts = num_attempts


class Downloader:
    """
    Downloads files below one base URL; may be used from many threads at once.

    Raises
    ------
    ValueError
        The base URL is neither https nor, as tests use it, http to a loopback address.
    """

    def __init__(self, base_url: str, settings: DownloadSettings) -> None:
        self._base_url = checked_base_url(base_url)
        self._settings = settings
        self._stopped = threading.Event()
        self._opener = opener_for(self._base_url)

    def stop(self) -> None:
        """End pauses and transfers soon; downloads under way fail."""
        self._stopped.set()

    def download(self, name: str, path: Path, check: Callable[[Path], None]) -> int:
        """
        Download the gzip file `name` to `path`, which appears whole or not at all; return the number of attempts.

        Parameters
        ----------
        check
            Raises ValueError, with a sentence, where the received file is not what is wanted.

        Raises
        ------
        DownloadError
            The server does not have the file, keeps failing, or sends something else.
        """
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name), name
        num_attempts = self._settings.num_attempts
        for attempt in range(1, num_attempts + 1):
            try:
                with atomic_write(path) as temporary:
                    self._receive(f"{self._base_url}/{name}", temporary)
                    check(temporary)
                return attempt
            except TryAgainError as error:
                if attempt == num_attempts:
                    raise DownloadError(f"{error}; given up after {attempt} attempts", attempt) from error
                self._pause(attempt, error)
            except OSError as error:
                raise DownloadError(f"{path} cannot be written: {error.strerror or error}", attempt) from error
            except ValueError as error:
                raise DownloadError(str(error), attempt) from error
        raise AssertionError("at least one attempt is made")

    def _receive(self, url: str, path: Path) -> None:
        """Write the body of one answer to `path` and see that it is a whole gzip file."""
        with self._opened(url) as response:
            num_expected, content_type = response.length, str(response.headers.get("Content-Type"))[:80]
            self._check_size(num_expected or 0)
            num_bytes = 0
            with path.open("wb") as file:
                for chunk in self._chunks(response):
                    num_bytes += len(chunk)
                    self._check_size(num_bytes)
                    file.write(chunk)
        if num_bytes < (num_expected or 1):
            raise TryAgainError(f"the answer ended after {num_bytes} of {num_expected or 'unknown'} bytes")
        with path.open("rb") as file:
            if file.read(2) != _GZIP_MAGIC:
                raise ValueError(f"the server sent {content_type!r} that is not a gzip file; check the base URL")
        problem = gzip_problem(path)
        if problem:
            raise TryAgainError(problem)

    def _opened(self, url: str) -> Any:
        host = urlsplit(url).netloc
        request = urllib.request.Request(url, headers={"User-Agent": _USER_AGENT})
        try:
            return self._opener.open(request, timeout=self._settings.stall_timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                raise answer_problem(error, f"{host} has no {url.rpartition('/')[2]}", host) from None
        except (OSError, http.client.HTTPException) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise ValueError(f"the certificate of {host} is not trusted: {cause.verify_message}") from None
            raise TryAgainError(f"no answer from {host}: {cause or type(cause).__name__}") from error

    def _chunks(self, response: Any) -> Iterator[bytes]:
        started_s = time.monotonic()
        while True:
            try:
                chunk = response.read1(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise TryAgainError(f"the transfer broke off: {error or type(error).__name__}") from error
            if not chunk:
                return
            if self._stopped.is_set():
                raise ValueError("stopped before the end of the transfer")
            if time.monotonic() - started_s > self._settings.attempt_timeout_s:
                raise TryAgainError(f"the transfer took more than {self._settings.attempt_timeout_s:g} s")
            yield chunk

    def _check_size(self, num_bytes: int) -> None:
        if num_bytes > self._settings.max_bytes:
            raise ValueError(f"the file has more than the allowed {self._settings.max_bytes / 1e6:g} MB")

    def _pause(self, attempt: int, error: TryAgainError) -> None:
        """Wait before the next attempt: twice as long each time, or as long as the server asks, never in step."""
        settings = self._settings
        if error.asked_delay_s is None:
            delay_s = min(settings.max_delay_s, settings.first_delay_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
        elif error.asked_delay_s > settings.max_delay_s:
            raise DownloadError(f"{error} and asks to wait {error.asked_delay_s:.0f} s; come back later", attempt)
        else:
            delay_s = error.asked_delay_s + settings.first_delay_s * random.uniform(0.0, 1.0)
        if self._stopped.wait(delay_s):
            raise DownloadError("stopped before the next attempt", attempt)


def gzip_problem(path: Path) -> str:
    """Say in a sentence why `path` is no whole gzip file; nothing where it is one."""
    num_bytes = 0
    try:
        with gzip.open(path) as stream:
            # Beyond the limit whoever reads the text refuses it, so there is no use in unpacking on.
            while num_bytes <= _MAX_UNPACKED_BYTES and (chunk := stream.read(2**20)):
                num_bytes += len(chunk)
    except (OSError, EOFError, zlib.error) as error:
        return f"the gzip data is damaged: {error}"
    return "" if num_bytes else "the gzip data is empty"
