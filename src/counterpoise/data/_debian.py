"""Debian's own package of FashionMNIST: where it lies, and how to get it."""

from __future__ import annotations

import os
import shutil
import subprocess

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = "/usr/share/datasets/fashion-mnist"

_TIMEOUT_SECONDS = 300


def install_debian_package() -> bool:
    """Install Debian's package of FashionMNIST, where that is possible.

    It is possible for root on a system with apt-get; anywhere else nothing is run.

    Returns:
        Whether the package's folder is there afterwards.

    Example:
        >>> install_debian_package()  # doctest: +SKIP
        True
    """
    if not os.path.isdir(DEBIAN_FOLDER) and _can_install() and not _install():
        # A fresh system has no package lists yet, so the first try finds no such package.
        # An update that fails for some other archive may still bring the right list.
        _apt_get("update")
        _install()
    return os.path.isdir(DEBIAN_FOLDER)


def _can_install() -> bool:
    """Tell whether this is root on a system with apt-get."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return is_root and shutil.which("apt-get") is not None


def _install() -> bool:
    """Ask apt-get for the package; return whether it went well."""
    return _apt_get("install", "-y", "--no-install-recommends", DEBIAN_PACKAGE)


def _apt_get(*arguments: str) -> bool:
    """Run apt-get without questions and without output; return whether it went well."""
    try:
        done = subprocess.run(
            ["apt-get", *arguments],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
