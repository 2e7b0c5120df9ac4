"""Which addresses are asked, which redirects are followed, and what an answer without the file means."""

import ipaddress
import re
import ssl
import urllib.error
import urllib.request
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

# Answers that another attempt may change, besides all of 500 and above.
_RETRIED_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


class TryAgainError(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(self, reason: str, asked_delay_s: float | None = None) -> None:
        super().__init__(reason)
        self.asked_delay_s = asked_delay_s


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https, and from one loopback address to another; refuses to leave encryption."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        origin, target = urlsplit(req.full_url), urlsplit(newurl)
        is_local = origin.scheme == "http" and target.scheme == "http" and _is_loopback(target.hostname)
        if target.scheme != "https" and not is_local:
            fp.close()
            raise ValueError(f"{origin.netloc} redirects to {newurl[:200]!r}, which is not https; it is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def checked_base_url(base_url: str) -> str:
    """Return the base URL without a slash at its end; raise ValueError where it is no https URL of a folder."""
    parts = urlsplit(base_url)
    is_secure = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))
    has_more = parts.username is not None or parts.query or parts.fragment
    is_folder = bool(parts.hostname) and parts.port != 0 and not has_more
    if not (is_secure and is_folder and re.fullmatch("[!-~]+", base_url)):
        raise ValueError(f"the base URL is {base_url!r}; expected https://host/folder without user, query or fragment")
    return base_url.rstrip("/")


def opener_for(base_url: str) -> urllib.request.OpenerDirector:
    """Return what opens URLs below a checked base URL: certificates are verified, redirects stay encrypted."""
    handlers: list[urllib.request.BaseHandler] = [
        _SecureRedirects(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
    ]
    if _is_loopback(urlsplit(base_url).hostname):
        handlers.append(urllib.request.ProxyHandler({}))  # a proxy would ask its own loopback address
    return urllib.request.build_opener(*handlers)


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def answer_problem(error: urllib.error.HTTPError, missing: str, host: str) -> Exception:
    """Turn an HTTP status that is no success into what to do about it."""
    known = error.code in set(HTTPStatus)
    answer = f"{host} answered {error.code}{f' ({HTTPStatus(error.code).phrase})' if known else ''}"
    if error.code in _RETRIED_STATUSES or error.code >= 500:
        return TryAgainError(answer, _asked_delay_s(error.headers.get("Retry-After")))
    if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return ValueError(f"{missing} ({error.code}); check the id, or try the other format")
    return ValueError(f"{answer}; another attempt would not change it")


def _asked_delay_s(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds or a date (RFC 9110, section 10.2.3)."""
    text = (retry_after or "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
