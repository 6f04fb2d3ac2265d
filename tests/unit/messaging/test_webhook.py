"""What Standard Webhooks asks of a message, by its own published example."""

import base64

import pytest

from chopmark.app.settings import Settings
from chopmark.messaging.webhook import read_secret, signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_message_is_signed_as_the_published_example_is() -> None:
    """The reference vector of the Standard Webhooks libraries."""
    signed = signature(read_secret(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "written",
    ["", SECRET.removeprefix("whsec_"), "whsec_", "whsec_" + "A" * 31, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-w"]
    + ["whsec_" + base64.b64encode(bytes(size)).decode() for size in (23, 65)],
)
def test_a_secret_is_a_prefix_and_the_base64_of_24_to_64_bytes(written: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        read_secret(written)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://orders.example.com/x", "https address"),
        ("http://127.0.0.1.example.com/x", "https address"),
        ("ftp://127.0.0.1/x", "https address"),
        ("orders.example.com", "https address"),
        ("https:///x", "https address"),
        ("https://user:pass@orders.example.com/x", "no user name"),
        ("https://orders.example.com/x#y", "no fragment"),
    ],
)
def test_an_address_that_would_send_in_the_open_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings.model_validate({"webhook": {"url": url, "secret": SECRET}})


@pytest.mark.parametrize("url", ["https://orders.example.com/x", "http://127.0.0.1:9000/", "http://[::1]:9000/x"])
def test_https_and_this_machine_are_taken(url: str) -> None:
    assert Settings.model_validate({"webhook": {"url": url, "secret": SECRET}}).webhook.url == url


@pytest.mark.parametrize("secrets", [{}, {"secret": "x"}, {"secret": SECRET, "secret_previous": "x"}])
def test_a_webhook_without_a_good_secret_is_refused_and_the_secret_not_quoted(secrets: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"webhook\.secret") as wrong:
        Settings.model_validate({"webhook": {"url": "https://orders.example.com/x", **secrets}})
    assert SECRET not in str(wrong.value)
