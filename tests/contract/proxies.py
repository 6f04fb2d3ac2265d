"""nginx, Apache and HAProxy with the sample files of deploy/proxy; only names, ports and paths are the test's."""

import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.machine import missing

SAMPLES = Path(__file__).parents[2] / "deploy" / "proxy"
KINDS = ("nginx", "apache", "haproxy")
ENDS_WITHIN_S = 20
_NGINX = """{user} worker_processes 1; pid {folder}/pid; error_log {folder}/proxy.log warn;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {includes}
}}
"""
_APACHE = """ServerRoot {folder}
DefaultRuntimeDir {folder}
Mutex file:{folder} default
PidFile {folder}/pid
ErrorLog {folder}/proxy.log
ServerName localhost
{user}
{modules}
{listen}
{includes}
"""
_APACHE_MODULES = "mpm_event authn_core authz_core alias ssl socache_shmcb headers proxy proxy_http setenvif"


def changed(name: str, changes: Mapping[str, str]) -> str:
    """Return a sample with the names of a documented installation replaced; each has to be there."""
    text = (SAMPLES / name).read_text(encoding="utf-8")
    for documented, here in changes.items():
        assert documented in text, (name, documented)
        text = text.replace(documented, here)
    return text


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder as the operator's page makes it for a socket: the proxy's group can enter it."""
    folder = Path(tempfile.mkdtemp(prefix="chopmark-proxy-"))
    if os.geteuid() == 0:
        shutil.chown(folder, group="www-data")
        folder.chmod(0o2750)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def proxy(kind: str, folder: Path, samples: Mapping[str, str], listen: tuple[int, ...] = ()) -> Iterator[None]:
    """Run a proxy with the samples, changed already; `folder` is the proxy's own, `listen` are ports of Apache's."""
    suffix = "cfg" if kind == "haproxy" else "conf"
    paths = []
    for name, text in samples.items():
        path = folder / f"{name}.{suffix}"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    command = {"nginx": _nginx, "apache": _apache, "haproxy": _haproxy}[kind](folder, paths, listen)
    started = subprocess.run(command, capture_output=True, text=True, check=False)  # each returns when it listens
    said = folder / "proxy.log"
    assert started.returncode == 0, started.stderr + (said.read_text() if said.exists() else "")
    try:
        yield
    finally:
        _end(folder / "pid")


def _program(name: str) -> str:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or missing(f"The program {name}")


def _nginx(folder: Path, paths: list[Path], _: tuple[int, ...]) -> list[str]:
    user = "user root;" if os.geteuid() == 0 else ""  # the folder of a test is its user's alone
    includes = " ".join(f"include {path};" for path in paths)
    (folder / "main").write_text(_NGINX.format(folder=folder, user=user, includes=includes))
    return [_program("nginx"), "-p", str(folder), "-c", str(folder / "main"), "-e", str(folder / "proxy.log")]


def _apache(folder: Path, paths: list[Path], listen: tuple[int, ...]) -> list[str]:
    binary, modules = _program("apache2"), Path("/usr/lib/apache2/modules")
    loaded = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in _APACHE_MODULES.split())
    (folder / "main").write_text(
        _APACHE.format(
            folder=folder,
            user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
            modules=loaded,
            listen="\n".join(f"Listen 127.0.0.1:{port}" for port in listen),
            includes="\n".join(f"Include {path}" for path in paths),
        )
    )
    return [binary, "-f", str(folder / "main"), "-k", "start"]


def _haproxy(folder: Path, paths: list[Path], _: tuple[int, ...]) -> list[str]:
    files = [word for path in paths for word in ("-f", str(path))]
    return [_program("haproxy"), *files, "-D", "-p", str(folder / "pid")]


def _end(pid_file: Path) -> None:
    """End a daemon and wait until it has ended."""
    pid = int(pid_file.read_text().split()[0])
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        ready, _, _ = select.select([handle], [], [], ENDS_WITHIN_S)
        assert ready, "the proxy did not end"
    finally:
        os.close(handle)
