"""A real Kubernetes control plane on loopback: etcd, API server, controllers, scheduler.

Nothing needs root or leaves the machine. Pods get their status from `tests.lab.scripted_node`.
"""

from __future__ import annotations

import base64
import secrets
import shutil
import signal
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Self

from tests.lab.access import Access, write_kubeconfig
from tests.lab.processes import Processes, free_ports, stopped
from tests.lab.scripted_node import ScriptedNode

# By default controllers ask 20 times a second: 100 pods would take 6 s.
UNTHROTTLED = {"kube_api_qps": 500, "kube_api_burst": 1000}
CONTROLLERS = {"controllers": "*,-node-ipam-controller,-cloud-node-lifecycle-controller"}
PROGRAMS = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")
LAZY = {"GOGC": "1000"}  # collects garbage a third as often: a sixth of the API server's work
READY_WITHIN = 60.0  # seconds; 3 on two idle cores, but tests may run on busy ones


class ControlPlane(Access):
    """Everything that decides in a cluster, and one scripted node that can take 10,000 pods.

    programs: the folder with the four programs. folder: an empty one for data, keys and logs.
    controller_options: further flags of kube-controller-manager, such as the HPA's sync period.
    certificates: where the API server keeps its own certificate and key.
    """

    node: ScriptedNode

    def __init__(
        self, programs: Path, folder: Path, controller_options: Mapping[str, object] = {}
    ) -> None:
        self.programs = programs
        self._controller_options = dict(controller_options)
        self._stack = ExitStack()
        self._processes = Processes(folder)
        self.certificates = folder / "certificates"
        self._etcd, self._etcd_peer, self._port = free_ports(3)
        self._address = "127.0.0.1"
        self._api_options: dict[str, object] = {"endpoint_reconciler_type": "none"}
        self._token = secrets.token_hex(16)
        self.folder = folder
        self.admin = folder / "admin.kubeconfig"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._processes)
            self._key = self.folder / "service-accounts.key"
            self._key.write_text(new_signing_key())
            self._start_etcd()
            self._start_api_server()
            self._start_controllers()
            super().__init__(self.admin, self.folder)
            stack.callback(self.close)
            self._join_node(stack)
            self._stack = stack.pop_all()
        return self

    def _join_node(self, stack: ExitStack) -> None:
        self.node = stack.enter_context(ScriptedNode(self.admin))

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_etcd(self) -> None:
        etcd = f"http://127.0.0.1:{self._etcd}"
        self._start(
            "etcd",
            data_dir=self.folder / "etcd",
            listen_client_urls=etcd,
            advertise_client_urls=etcd,
            listen_peer_urls=f"http://127.0.0.1:{self._etcd_peer}",
            unsafe_no_fsync="true",
            log_level="error",
        )

    def _start_api_server(self) -> None:
        key, etcd = self._key, f"http://127.0.0.1:{self._etcd}"
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f'{self._token},admin,1,"system:masters"\n')
        self._start(
            "kube-apiserver",
            etcd_servers=etcd,
            cert_dir=self.certificates,
            bind_address=self._address,
            advertise_address=self._address,
            secure_port=self._port,
            service_account_key_file=key,
            service_account_signing_key_file=key,
            service_account_issuer="https://kubernetes.default.svc",
            authorization_mode="RBAC",
            token_auth_file=tokens,
            service_cluster_ip_range="10.96.0.0/16",
            allow_privileged="true",
            **self._api_options,
        )
        self._processes.await_ready(self._is_ready, READY_WITHIN, "the API server to be ready")

    def _start_controllers(self) -> None:
        authority = self.certificates / "apiserver.crt"
        server = {
            "server": f"https://{self._address}:{self._port}",
            "certificate-authority": str(authority),
        }
        write_kubeconfig(self.admin, server, {"token": self._token})
        self._start_controller_manager()
        self._start(
            "kube-scheduler",
            kubeconfig=self.admin,
            leader_elect="false",
            secure_port=0,
            **UNTHROTTLED,
        )

    def pid(self, program: str) -> int:
        """The process id of one of the programs."""
        return self._processes.pid(program)

    def outage(self) -> AbstractContextManager[None]:
        """The API server accepts connections and answers nothing, for the length of the block."""
        return stopped(self._processes.pid("kube-apiserver"))

    def restart_api_server(self) -> None:
        """It remembers no event from before: a watch that continues from there is refused."""
        self._processes.send("kube-apiserver", signal.SIGKILL)
        self._processes.stop("kube-apiserver")
        self._start_api_server()

    def keep_data(self, folder: Path) -> None:
        """Copy what etcd has on its disk at this moment, as a snapshot of the disk would."""
        with stopped(self._processes.pid("etcd")):
            shutil.copytree(self.folder / "etcd", folder)

    def restore_data(self, folder: Path) -> None:
        """Restart everything with what was kept: all versions of objects go back."""
        for program in PROGRAMS:
            self._processes.send(program, signal.SIGKILL)
            self._processes.stop(program)
        shutil.rmtree(self.folder / "etcd")
        shutil.copytree(folder, self.folder / "etcd")
        self._start_etcd()
        self._start_api_server()
        self._start_controllers()

    def restart_controllers(self) -> None:
        """They discover API groups at their start, and then only every 30 s."""
        self._processes.stop("kube-controller-manager")
        self._start_controller_manager()

    def _start_controller_manager(self) -> None:
        self._start(
            "kube-controller-manager",
            kubeconfig=self.admin,
            service_account_private_key_file=self.folder / "service-accounts.key",
            root_ca_file=self.certificates / "apiserver.crt",
            use_service_account_credentials="true",
            leader_elect="false",
            secure_port=0,
            **CONTROLLERS | UNTHROTTLED | self._controller_options,
        )

    def _start(self, program: str, **options: object) -> None:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self._processes.start(program, [self.programs / program, *words], **LAZY)

    def _is_ready(self) -> bool:
        authority = self.certificates / "apiserver.crt"
        if not authority.exists():
            return False
        try:
            context = ssl.create_default_context(cafile=authority)
            url = f"https://{self._address}:{self._port}/readyz"
            with urllib.request.urlopen(url, timeout=1, context=context) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False


def new_signing_key() -> str:
    """A private key on the curve P-256 as PEM (SEC 1, RFC 5915), which needs no library.

    Any number from 1 to just under 2^256 - 2^224 is one; the public half may be left out.
    """
    number = secrets.token_bytes(31).rjust(32, b"\1")
    curve = bytes.fromhex("a00a06082a8648ce3d030107")
    fields = b"\x02\x01\x01" + b"\x04\x20" + number + curve
    encoded = base64.b64encode(b"\x30" + bytes([len(fields)]) + fields).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{encoded}\n-----END EC PRIVATE KEY-----\n"
