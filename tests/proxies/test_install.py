"""What the pages of nginx and HAProxy tell an operator to do gives settings without a fault."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.pages import PROXY_PAGES, blocks

NGINX, HAPROXY = PROXY_PAGES
ROOT = NGINX.parents[2]
DEBIAN = Path("/etc/nginx/nginx.conf")
SERVICE = Path("/usr/lib/systemd/system/haproxy.service")


def run(script: str, folder: Path) -> str:
    """What a script of a page says, with `folder` in place of the machine's root."""
    for place in ("/etc", "/var", "/run"):
        script = script.replace(f" {place}/", f" {folder}{place}/")
    result = subprocess.run(
        ["sh", "-ec", script.replace("sudo ", "")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_nginx_takes_our_files_beside_those_of_the_distribution(tmp_path: Path) -> None:
    if shutil.which("nginx") is None or not DEBIAN.exists():
        pytest.skip("NO NGINX: `apt-get install nginx` or `make parts` gets it")
    copy, check = blocks(NGINX, "sh")
    [settings] = blocks(NGINX, "nginx")
    first, events = settings.split("\n", 1)
    shutil.copytree(DEBIAN.parent, tmp_path / "etc" / "nginx", symlinks=True)
    (tmp_path / "var" / "log" / "nginx").mkdir(parents=True)
    (tmp_path / "run").mkdir()

    run(copy, tmp_path)
    main = tmp_path / "etc" / "nginx" / "nginx.conf"
    text = main.read_text()
    old = text[text.index("events {") : text.index("}") + 1]
    main.write_text(f"{first}\n{text.replace(old, events)}")
    for file in (tmp_path / "etc" / "nginx").rglob("*.conf"):
        if not file.is_symlink():
            text = file.read_text()
            for place in ("/etc/nginx", "/var/log/nginx", "/run/"):
                text = text.replace(f" {place}", f" {tmp_path}{place}")
            file.write_text(text)
    command = check.split(" && ")[0].replace("nginx -t", f"nginx -t -e stderr -c {main}")

    assert "[" not in run(command, tmp_path)


def test_haproxy_finds_no_fault_with_our_files(tmp_path: Path) -> None:
    if shutil.which("haproxy") is None or not SERVICE.exists():
        pytest.skip("NO HAPROXY: `apt-get install haproxy` or `make parts` gets it")
    copy, check, *_ = blocks(HAPROXY, "sh")
    (tmp_path / "etc" / "default").mkdir(parents=True)

    run(copy, tmp_path)
    answer = run(check.replace("CONFIG=/etc", f"CONFIG={tmp_path}/etc"), tmp_path)

    # Nothing is what newer versions say of valid files.
    [setting] = (tmp_path / "etc" / "default" / "haproxy").read_text().splitlines()
    assert answer.removeprefix("Configuration file is valid\n") == f"{setting}\n"
    assert "EnvironmentFile=-/etc/default/haproxy\n" in SERVICE.read_text()
    [service_checks] = re.findall(r"ExecReload=(.* -f \$CONFIG -c .*)", SERVICE.read_text())
    assert run(f"{setting}; {service_checks}", tmp_path) == ""
