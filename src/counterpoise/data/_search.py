"""The search for the four files: folders first, then mirrors, with a record of the faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import requests

from counterpoise.data import _idx_files
from counterpoise.data._idx_files import BadFile, read_file
from counterpoise.data._mirrors import Mirror, one_line


@dataclass
class Search:
    """Search for the four files, with a record of the attempts.

    Attributes:
        contents: What was found, by file name.
        sources: Where it was found, each place once, in order.
        bad: Each file that was there but unfit, and why.
        tried: Every place that lacked something or failed, and how.
    """

    contents: dict[str, bytes] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)

    def missing(self) -> list[str]:
        """Return the names of the files not found so far."""
        return [name for name in _idx_files.CONTENT_SHA256 if name not in self.contents]

    def look_in(self, folder: Path, label: str) -> None:
        """Take the missing files that a folder holds.

        Args:
            folder: The folder.
            label: What to call it in messages.
        """
        absent = []
        for name in self.missing():
            try:
                content = read_file(folder / name, name)
            except BadFile as error:
                self._note_bad(f"{folder / name} is {error}")
                continue
            if content is None:
                absent.append(name)
            else:
                self._keep(name, content, f"{label} {folder}")
        if absent:
            self.tried.append(f"{label} {folder} lacks {_listing(absent)}")

    def download(self, addresses: tuple[str, ...], folder: Path, progress: bool) -> None:
        """Download the files that are still missing, up to the first that no mirror gives.

        Args:
            addresses: The mirrors, in the order to try them.
            folder: Where the files go.
            progress: Whether to show progress bars.
        """
        mirrors = [Mirror(address) for address in addresses]
        for name in self.missing():
            if not any(self._download_from(mirror, name, folder, progress) for mirror in mirrors):
                break
        self.tried += [f"{each.url} was {each.trouble}" for each in mirrors if each.trouble]

    def _download_from(self, mirror: Mirror, name: str, folder: Path, progress: bool) -> bool:
        """Try to get one file from one mirror; return whether it worked."""
        if not mirror.is_open(name):
            return False
        try:
            path = mirror.fetch(name, _idx_files.UPSTREAM_SHA256[name], folder, progress)
        except requests.RequestException as error:
            self.tried.append(f"{mirror.address(name)} failed: {one_line(error)}")
        except ValueError:
            self._note_bad(f"{mirror.address(name)} is corrupted: its SHA-256 is not as published")
        except OSError as error:
            self.tried.append(f"{folder} cannot be written: {one_line(error)}")
        else:
            return self._keep_download(path, name, mirror.url)
        return False

    def _keep_download(self, path: Path, name: str, url: str) -> bool:
        """Take a downloaded file, or remove it if its content is wrong after all."""
        try:
            content = read_file(path, name)
        except BadFile as error:
            self._note_bad(f"{name} from {url} is {error}")
            path.unlink(missing_ok=True)
            return False
        if content is not None:
            self._keep(name, content, f"downloaded from {url}")
        return content is not None

    def _keep(self, name: str, content: bytes, source: str) -> None:
        """Remember a found file and where it came from."""
        self.contents[name] = content
        if source not in self.sources:
            self.sources.append(source)

    def _note_bad(self, line: str) -> None:
        """Remember an unfit file, for the warning as well as for the error."""
        self.bad.append(line)
        self.tried.append(line)


def _listing(names: list[str]) -> str:
    """Name the files, in short where all are meant."""
    return "all four files" if len(names) == len(_idx_files.CONTENT_SHA256) else ", ".join(names)
