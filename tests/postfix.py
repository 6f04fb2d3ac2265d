"""A Postfix of the tests' own on loopback: it takes mail, hands it to a server that refuses it, and returns it."""

import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.machine import missing, program

CUSTOMERS, OURS = "customers.example", "mail.example.com"
_STARTS_WITHIN_S = 30
_MAIN = """
compatibility_level = 3.6
myhostname = relay.example.net
mydestination =
bounced_destination_recipient_limit = 1
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = {folder}/queue
data_directory = {folder}/lib
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtp_skip_5xx_greeting = no
recipient_delimiter = +
alias_maps =
transport_maps = inline:{{ {{ {customers} = smtp:[127.0.0.1]:{next_port} }}, {{ {ours} = {returned} }} }}
relay_domains = {customers}, {ours}
local_recipient_maps =
notify_classes =
{more}
"""
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
showq unix n - n - - showq
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
{pipe}
"""


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextmanager
def postfix(folder: Path, next_port: int, pipe: str = "", maildir: Path | None = None, more: str = "") -> Iterator[int]:
    """Run Postfix and yield its port. What comes back goes to the service `bounced` of `pipe`, or into a Maildir."""
    program("postfix")
    if os.geteuid() != 0:
        missing("Root, who alone may start Postfix,")
    owner = pwd.getpwnam("postfix")
    config, port = folder / "etc", free_port()
    for path in (folder, config, folder / "queue", folder / "lib"):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    os.chown(folder / "lib", owner.pw_uid, owner.pw_gid)
    settings = {"folder": folder, "customers": CUSTOMERS, "ours": OURS, "next_port": next_port, "more": more}
    if maildir is not None:
        (maildir.parent).chmod(0o777)
        settings["more"] = (
            f"virtual_mailbox_base = {maildir.parent}\nvirtual_mailbox_maps = static:{maildir.name}/\n"
            f"virtual_uid_maps = static:{owner.pw_uid}\nvirtual_gid_maps = static:{owner.pw_gid}\n{more}"
        )
    returned = "bounced:" if maildir is None else "virtual:"
    (config / "main.cf").write_text(_MAIN.format(returned=returned, **settings))
    (config / "master.cf").write_text(_MASTER.format(port=port, pipe=pipe))
    asked = ["postfix", "-c", str(config)]
    subprocess.run([*asked, "start"], check=True, capture_output=True, timeout=_STARTS_WITHIN_S)
    try:
        yield port
    finally:
        subprocess.run([*asked, "stop"], check=False, capture_output=True, timeout=_STARTS_WITHIN_S)
