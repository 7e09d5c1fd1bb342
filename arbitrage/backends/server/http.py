"""JSON over HTTP to a server that may be busy, slow, absent or hostile. Knows nothing of models."""

from __future__ import annotations

import json
import os
from time import sleep
from typing import Any, final
from urllib.parse import urlsplit

from arbitrage.errors import MissingExtraError, ModelLoadError, ServerError

try:
    import urllib3
except ImportError as error:
    raise MissingExtraError.of("a model behind HTTP", "urllib3", "server") from error

_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that may be better next time."""
_LARGEST_ANSWER = 64 << 20
_LONGEST_WAIT_S = 30.0
_SHOWN = 200
"""Characters of an answer that a message quotes."""


@final
class Client:
    """One server. Threads may share it; connections are kept and reused. Redirects are not followed."""

    def __init__(self, url: str, key_env: str, timeout_s: float, retries: int) -> None:
        """Nothing is asked yet.

        Args:
            url: where the server's paths begin, without user, password and query.
            key_env: environment variable with the key; nothing is sent when it is not set.
            timeout_s: for connecting, and for each wait for data.
            retries: further attempts after a failure that may pass; waits double from half a second on.

        Raises:
            ModelLoadError: the URL is not one of this kind, or the key cannot be sent.
        """
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ModelLoadError(f"{url!r} is no URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ModelLoadError(
                f"a server is http://HOST:PORT or https://HOST, without user and password; keys come from ${key_env}"
            )
        self.url = url.rstrip("/")
        self._key_env, self._key = key_env, os.environ.get(key_env, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):  # would be quoted by whoever refuses to send it
            raise ModelLoadError(f"${key_env} holds characters that the header of a request cannot; set it again")
        self._retries, self._pool = retries, urllib3.PoolManager(maxsize=64, timeout=urllib3.Timeout(timeout_s))

    def get(self, path: str) -> Any:
        """The answer to GET, decoded; see `post`."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, object]) -> Any:
        """The answer to POST, decoded.

        Raises:
            ServerError: it cannot be reached, refuses, or answers something that is not JSON.
        """
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        where = f"{method} {self.url}{path}"
        for attempt in range(self._retries + 1):
            status, answer, wait_s = 0, b"", 0.0
            try:
                response = self._pool.request(
                    method, self.url + path, body=body, headers=headers, retries=False, preload_content=False
                )
                try:
                    status, wait_s = response.status, _seconds(response.headers.get("Retry-After"))
                    answer = response.read(_LARGEST_ANSWER + 1, decode_content=True)
                finally:
                    if 0 < len(answer) <= _LARGEST_ANSWER:
                        response.release_conn()
                    else:  # what is left of it would be taken for the next answer
                        response.close()
                failure = f"answered {status}: {self._quoted(answer)}"
            except urllib3.exceptions.HTTPError as error:
                status, failure = 0, f"{type(error).__name__}: {self._quoted(str(error).encode())}"
            if status == 200:
                return self._decoded(where, answer)
            if status and status not in _AGAIN:
                hint = f"; the server wants its key in ${self._key_env}" if status in (401, 403) else ""
                raise ServerError(f"{where} {failure}{hint}")
            if attempt < self._retries:
                sleep(min(_LONGEST_WAIT_S, max(wait_s, 0.5 * 2**attempt)))
        raise ServerError(f"{where} failed {self._retries + 1} times; the last time: {failure}")

    def _decoded(self, where: str, answer: bytes) -> Any:
        if len(answer) > _LARGEST_ANSWER:
            raise ServerError(f"{where} answered more than {_LARGEST_ANSWER >> 20} MB")
        try:
            return json.loads(answer)
        except (ValueError, RecursionError):
            raise ServerError(f"{where} answered something that is not JSON: {self._quoted(answer)}") from None

    def _quoted(self, answer: bytes) -> str:
        """The beginning of an answer, safe to print: no control characters, and never the key."""
        text = answer[: 4 * _SHOWN].decode("utf-8", "replace")
        text = text.replace(self._key, "***") if self._key else text
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_SHOWN]


def _seconds(told: str | None) -> float:
    """A Retry-After header in seconds; dates and nonsense count as none."""
    return float(told) if told is not None and told.isascii() and told.isdigit() else 0.0
