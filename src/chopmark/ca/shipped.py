"""The certificate profiles that are part of this release."""

from functools import cache
from importlib import resources

from chopmark.pki import profile
from chopmark.pki.profile import Profile


def profile_text(name: str) -> str:
    """Return the TOML of the profile under which certificates of this name are issued."""
    return (resources.files("chopmark.ca") / "profiles" / f"{name}.toml").read_text(encoding="utf-8")


@cache
def profile_named(name: str) -> Profile:
    """Return the profile under which certificates of this name are issued."""
    return profile.load(profile_text(name))


@cache
def shipped_profiles() -> tuple[Profile, ...]:
    """Return every profile of this release, those of earlier versions included.

    Certificates are issued under NAME.toml. NAME@VERSION.toml is an earlier version, under which stored certificates
    are checked.
    """
    files = (resources.files("chopmark.ca") / "profiles").iterdir()
    texts = (file.read_text(encoding="utf-8") for file in files if file.name.endswith(".toml"))
    return tuple(map(profile.load, texts))
