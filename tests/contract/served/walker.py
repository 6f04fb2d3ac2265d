"""A customer of the operator's page, as a process in that machine's network: over https, through the proxy.

`python -m tests.contract.served.walker FOLDER apply NUMBER PASSWORD`, months later `... renew CLIENT SECRET`; codes
come from the mail relay's folder. Prints the serial number of the certificate that works now.
"""

import email
import json
import re
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from email.policy import default
from pathlib import Path
from ssl import create_default_context
from typing import Any

import httpx2
from cryptography.hazmat.primitives import serialization

from chopmark.client.signing import ClientKey
from chopmark.core.types import OrderId

URL = "https://counter.example.com"
NUMBER, ACCOUNT, BIRTH = "C20001", "F014000-0001001", {"era": "roc", "year": "49", "month": "7", "day": "15"}
LIMIT_S = 60


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Customer:
    """One customer's browser, key and mail box."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        trust = create_default_context(cafile=str(folder / "counter.crt"))
        self.client = httpx2.Client(base_url=URL, verify=trust, timeout=60, trust_env=False)
        self.order: dict[str, Any] = {}

    def ask(self, method: str, path: str, wanted: int, **how: Any) -> httpx2.Response:
        answer = self.client.request(method, path, **how)
        if answer.status_code != wanted:
            sys.exit(f"{method} {path}: {answer.status_code} instead of {wanted}: {answer.text[:2000]}")
        return answer

    @property
    def token(self) -> str:
        return next((value for name, value in self.client.cookies.items() if name.endswith("csrf")), "")

    def form(self, path: str, wanted: int, **fields: str) -> None:
        self.ask("POST", path, wanted, data={"_csrf_token": self.token, **fields}, headers={"Origin": URL})

    def api(self, method: str, path: str, body: dict[str, Any], wanted: int = 200) -> dict[str, Any]:
        headers = {"x-csrftoken": self.token, "Origin": URL}
        found: dict[str, Any] = self.ask(method, f"/api/v1{path}", wanted, json=body, headers=headers).json()
        if "next" in found:
            self.order = found
        return found

    def sign_in(self, number: str, password: str) -> None:
        self.ask("GET", "/sign-in", 200)
        self.form("/sign-in", 303, who=number, password=password, next="/home")

    def launch(self, client: str, secret: str) -> None:
        """Come from the trading program."""
        wanted = {"customer": NUMBER, "account": ACCOUNT, "factors": ["password"], "wanted": "renew"}
        made = self.ask("POST", "/api/v1/launches", 201, json=wanted, auth=(client, secret)).json()
        self.ask("GET", "/launch", 200)
        self.form("/launch", 303, ticket=made["url"].partition("#t=")[2])
        self.ask("GET", "/launch/confirm", 200)
        self.form("/launch/confirm", 303)

    def mails(self) -> set[Path]:
        return set((self.folder / "mail" / "new").glob("*"))

    def code(self, before: set[Path]) -> str:
        """Wait for the mail with the code."""
        limit = time.monotonic() + LIMIT_S
        while time.monotonic() < limit:
            for path in self.mails() - before:
                message = email.message_from_bytes(path.read_bytes(), policy=default)
                found = re.search(r"(?<!\d)\d{6}(?!\d)", message.get_content())
                if found is not None and message["To"] == "ming@example.com":
                    return found[0]
            time.sleep(0.1)
        sys.exit("no code has come")

    def now(self) -> datetime:
        """Return the server's time."""
        milliseconds = self.ask("GET", "/api/v1/status", 200).json()["server_time"]
        return datetime.fromtimestamp(milliseconds // 1000, UTC)

    def proof(self, key: ClientKey, certificate: bytes, new: ClientKey, nonce: str, purpose: str) -> str:
        order, at = OrderId(self.order["id"]), self.now() + timedelta(0)
        signed = key.prove(
            certificate, portal=self.order["portal"], order=order, nonce=unb64(nonce),
            new_spki_sha256=new.spki_sha256, purpose=purpose, at=at,
        )  # fmt: skip
        return b64(signed)

    def certified(self, operation: str) -> str:
        """Take the whole way of an order; keep key and certificate, and return its serial number."""
        new = ClientKey.generate()
        self.api("POST", "/orders", {"operation": operation, "account": ACCOUNT, "key_home": "file"}, 201)
        path, body = f"/orders/{self.order['id']}", {"csr": b64(new.request())}
        if operation == "rekey":
            old = ClientKey(serialization.load_pem_private_key((self.folder / "key.pem").read_bytes(), None))  # type: ignore[arg-type]
            certificate = unb64(self.order["old_certificate"]["der"])
            body["proof"] = self.proof(old, certificate, new, self.order["nonce"], "rekey")
        self.api("PUT", f"{path}/key", body)
        before = self.mails()
        self.api("POST", f"{path}/challenges", {"channel": "email"}, 201)
        self.api("POST", f"{path}/code", {"code": self.code(before)})
        if self.order["next"] == "birth_date":
            self.api("POST", f"{path}/birth-date", BIRTH)
        self.api("POST", f"{path}/confirm", {"consent": self.order["consent"]["sha256"]}, 201)
        der = unb64(self.order["certificate"]["der"])
        fresh = self.api("POST", f"{path}/nonce", {})["nonce"]
        self.api("POST", f"{path}/prove", {"proof": self.proof(new, der, new, fresh, "install")})
        (self.folder / "key.pem").write_bytes(new.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))  # fmt: skip
        if self.order["state"] != "active":
            sys.exit(json.dumps(self.order))
        return str(self.order["certificate"]["serial"])


def main() -> None:
    """Do what the command line says."""
    folder, verb, *given = sys.argv[1:]
    customer = Customer(Path(folder))
    if verb == "apply":
        customer.sign_in(*given)
        print(customer.certified("enrol"))
    else:
        customer.launch(*given)
        print(customer.certified("rekey"))


if __name__ == "__main__":
    main()
