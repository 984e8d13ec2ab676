"""Programs of Debian's next release, unpacked beside this machine's own and not installed.

The manifests name versions of nginx and HAProxy that a stable Debian comes to later.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from tests.lab.go import BuildError, alone, cache, output_of

SUITE = "forky"
PACKAGES = ("nginx", "haproxy")
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
INSTALL = ("install", "--yes", "--no-install-recommends", "--download-only")
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
                    output_of(["dpkg-deb", "--extract", str(archive), str(partial)])
                for each in MERGED:
                    (partial / each).symlink_to(f"usr/{each}")
                partial.rename(root)
    return root


def libraries(program: str, root: Path) -> list[str]:
    """Every shared library that a program below a root is linked to, and the loader of them."""
    with (root / program.lstrip("/")).open("rb") as file:
        [loader] = re.findall(rb"/lib\S*?/ld-linux[^\0]*", file.read(4096))
    told = output_of(["chroot", str(root), loader.decode(), "--list", program])
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
    output_of([*apt, "update"])
    output_of([*apt, *INSTALL, *PACKAGES])
    return sorted(archives.glob("*.deb"))


def _mirror() -> str:
    """Where this machine has its own Debian from."""
    if shutil.which("apt-get") is None:
        raise BuildError("this machine has no apt")
    asked = ("apt-get", "indextargets", "--format", "$(REPO_URI)")
    wanted = ("Created-By: Packages", "Component: main", "Label: Debian")
    told = output_of([*asked, *wanted]).splitlines()
    if not told:
        raise BuildError("this machine has no Debian")
    return told[0]
