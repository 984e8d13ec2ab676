"""Programs of Debian's next release, unpacked beside this machine's own and not installed.

The manifests name versions of nginx and HAProxy that a stable Debian comes to later.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.cluster.go import BuildError, alone, cache

SUITE = "forky"
PACKAGES = ("nginx", "haproxy")
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Where a package's /bin is /usr/bin: no package of these brings the links.
MERGED = ("bin", "sbin", "lib", "lib64")


def newer_programs() -> Path:
    """The root folder of an unpacked nginx and HAProxy with all they need, got once (10 s).

    Raises BuildError where there is no apt or Debian does not answer.
    """
    root = cache() / f"{SUITE}-{'-'.join(PACKAGES)}"
    with alone(root):
        if not root.is_dir():
            with tempfile.TemporaryDirectory(dir=root.parent) as name:
                partial = Path(name) / "root"
                for archive in _download(Path(name)):
                    _run("dpkg-deb", "--extract", str(archive), str(partial))
                for each in MERGED:
                    (partial / each).symlink_to(f"usr/{each}")
                partial.rename(root)
    return root


def libraries(program: str, root: Path) -> list[str]:
    """Every shared library that a program below a root is linked to, and the loader of them."""
    with (root / program.lstrip("/")).open("rb") as file:
        [loader] = re.findall(rb"/lib\S*?/ld-linux[^\0]*", file.read(4096))
    told = _run("chroot", str(root), loader.decode(), "--list", program)
    return re.findall(r"(?:=> |^\s)(/\S+) \(0x", told, re.MULTILINE)


def _download(folder: Path) -> list[Path]:
    """The packages with all that they depend on, by an apt that knows nothing of this machine's."""
    state, archives = folder / "state", folder / "cache" / "archives"
    (state / "lists" / "partial").mkdir(parents=True)
    (archives / "partial").mkdir(parents=True)
    (state / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYS}] {_mirror()} {SUITE} main\n")
    places = {
        "Etc::sourcelist": folder / "sources.list",
        "Etc::sourceparts": folder,
        "State": state,
        "State::status": state / "status",
        "Cache": archives.parent,
    }
    options = [word for name, place in places.items() for word in ("-o", f"Dir::{name}={place}")]
    apt = ["apt-get", "-qq", *options]
    _run(*apt, "update")
    _run(*apt, "install", "--yes", "--no-install-recommends", "--download-only", *PACKAGES)
    return sorted(archives.glob("*.deb"))


def _mirror() -> str:
    """Where this machine has its own Debian from."""
    wanted = ("Created-By: Packages", "Component: main", "Label: Debian")
    told = _run("apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted).splitlines()
    if not told:
        raise BuildError("this machine has no Debian")
    return told[0]


def _run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise BuildError(f"{command[0]} is missing")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["it says nothing"]
        raise BuildError(f"{command[0]} failed: {lines[-1]}")
    return result.stdout
