"""Manifests that a command reads: files, or standard input as `-`."""

from __future__ import annotations

import sys
from pathlib import Path

from autoscaler.adapters.policies.policy_file import MAX_MANIFEST_BYTES, read_documents
from autoscaler.adapters.policies.yaml import Document
from autoscaler.errors import AutoscalerError

STDIN = "standard input"


def manifest(name: str) -> tuple[Path, list[Document]]:
    """Return the documents of a manifest, and what it is called. Raises AutoscalerError."""
    is_file = name != "-"
    path = Path(name if is_file else STDIN)
    return path, read_documents(path, None if is_file else _stdin())


def _stdin() -> bytes:
    """Return what standard input has, at most a byte more than allowed. Raises AutoscalerError."""
    if sys.stdin is None:
        raise AutoscalerError(f"{STDIN}: cannot be read (it is closed); name a file in place of -")
    try:
        return sys.stdin.buffer.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise AutoscalerError(f"{STDIN}: cannot be read ({error.strerror})") from None
