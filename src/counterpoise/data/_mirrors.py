"""Download from mirrors, giving up soon on those that cannot be reached."""

from __future__ import annotations

import errno
import logging
import queue
import re
import threading
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

with warnings.catch_warnings():  # that a notebook has no widgets, which the bar can do without
    warnings.simplefilter("ignore")
    import pooch

MIRRORS: tuple[str, ...] = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
# A host may have many addresses, each with its own connect timeout, and a name server may be
# slow to fail; this bounds all of that together, for each mirror.
ANSWER_SECONDS = 6.0
RETRIES = 2
BACKOFF_SECONDS = 0.5

# How urllib3 begins its messages; the mirror is named anyway.
_CONNECTION = re.compile(r"^HTTPS?Connection(Pool)?\([^)]*\): ")


@dataclass
class Mirror:
    """A folder on the web, and the outcome of trying it.

    Args:
        url: The folder's address.
    """

    url: str
    reached: bool = field(default=False, init=False)
    trouble: str | None = field(default=None, init=False)

    def address(self, name: str) -> str:
        """Return the address of a file."""
        return f"{self.url.rstrip('/')}/{name}"

    def is_open(self, name: str) -> bool:
        """Tell whether the mirror answers at all; asked once, remembered for all files."""
        if not self.reached and self.trouble is None:
            reason = _why_silent(self.address(name))
            self.reached = reason is None
            self.trouble = reason and f"not reached: {reason}"
        return self.reached

    def fetch(self, name: str, sha256: str, folder: Path, progress: bool) -> Path:
        """Download a file into a folder; it gets its name only once its hash is right.

        Args:
            name: The file's name.
            sha256: The hash of the file as it is served.
            folder: Where to put it.
            progress: Whether to show a progress bar.

        Returns:
            The path of the file.

        Raises:
            requests.RequestException: If the transfer failed.
            ValueError: If the hash is wrong.
            OSError: If the file cannot be written.
        """
        for attempt in range(RETRIES):
            try:
                return self._fetch_once(name, sha256, folder, progress)
            except requests.RequestException as error:
                if not _may_pass(error):
                    raise
            time.sleep(BACKOFF_SECONDS * 2**attempt)
        return self._fetch_once(name, sha256, folder, progress)

    def _fetch_once(self, name: str, sha256: str, folder: Path, progress: bool) -> Path:
        """Download a file, without a second try."""
        if (folder / name).exists() and not (folder / name).is_file():  # pooch would wait for ever
            raise OSError(errno.EINVAL, "not an ordinary file", str(folder / name))
        # Any, since pooch's own downloader does not fit the protocol pooch declares for it.
        downloader: Any = pooch.HTTPDownloader(
            progressbar=progress, chunk_size=1 << 16, timeout=(CONNECT_SECONDS, READ_SECONDS)
        )
        with _quiet_pooch(not progress):
            path = pooch.retrieve(
                self.address(name), f"sha256:{sha256}", name, folder, downloader=downloader
            )
        return Path(path)


def one_line(error: BaseException) -> str:
    """Return an error as one short line.

    Args:
        error: The error, possibly one that wraps others.

    Returns:
        The text of the innermost cause, at most 160 characters long.
    """
    cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    # urllib3 keeps what really went wrong in `reason`, behind a long preamble.
    cause = getattr(cause, "reason", cause)
    text = _CONNECTION.sub("", " ".join(str(cause).split())) or type(cause).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def _why_silent(address: str) -> str | None:
    """Return None if the server at an address answers, whatever it says; else the reason."""
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # Name resolution takes no timeout, so the question is asked in a thread that may be left.
    asker = threading.Thread(target=lambda: answers.put(_ask(address)), daemon=True)
    asker.start()
    try:
        return answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        return f"no answer within {ANSWER_SECONDS:g} s"


def _ask(address: str) -> str | None:
    """Ask a server for the head of a file; return None, or the reason why it did not answer."""
    try:
        requests.head(address, timeout=(CONNECT_SECONDS, ANSWER_SECONDS)).close()
    except Exception as error:  # an address may be wrong in many ways; all mean "not reached"
        return one_line(error)
    return None


def _may_pass(error: requests.RequestException) -> bool:
    """Tell whether trying again could help: not when the server answered with a plain no."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return True


@contextmanager
def _quiet_pooch(quiet: bool) -> Generator[None, None, None]:
    """Silence pooch's log within the block."""
    logger = pooch.get_logger()
    # Not by its level: pooch's logger stands outside of logging's registry, so what it
    # remembers of an old level is never cleared.
    if quiet:
        logger.addFilter(_is_warning)
    try:
        yield
    finally:
        logger.removeFilter(_is_warning)


def _is_warning(record: logging.LogRecord) -> bool:
    """Let only warnings and worse through."""
    return record.levelno >= logging.WARNING
