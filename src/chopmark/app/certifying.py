"""The built-in CA of a house, which has none when another CA certifies and there never was one."""

from chopmark.app.issuing_cas import Ca
from chopmark.ca.embedded import Authority, EmbeddedIssuer
from chopmark.va.alarms import Watch
from chopmark.va.presigning import Presigner
from chopmark.va.publisher import Publisher
from chopmark.va.renewal import ResponderRenewal
from chopmark.va.responder import Responder


class NoBuiltIn(Exception):
    """Something of the built-in CA was wanted where another CA certifies."""


class WithBuiltIn:
    """The parts of the built-in CA by their own names; each raises NoBuiltIn where there is none."""

    __slots__ = ()
    built_in: Ca | None
    earlier: tuple[Ca, ...]

    @property
    def cas(self) -> tuple[Ca, ...]:
        """Every CA of this installation: the one that issues, if any, and those before it."""
        return self.earlier if self.built_in is None else (self.built_in, *self.earlier)

    def _present(self) -> Ca:
        if self.built_in is None:
            raise NoBuiltIn("another CA certifies here, and there is no built-in one")
        return self.built_in

    @property
    def issuer(self) -> EmbeddedIssuer:
        """What certifies with a key of our own."""
        return self._present().issuer

    @property
    def authority(self) -> Authority:
        """Its certificate, chain and key."""
        return self._present().authority

    @property
    def responder(self) -> Responder:
        """What answers OCSP."""
        return self._present().responder

    @property
    def presigner(self) -> Presigner:
        """What signs its answers ahead."""
        return self._present().presigner

    @property
    def watch(self) -> Watch:
        """What sees what ends soon."""
        return self._present().watch

    @property
    def publisher(self) -> Publisher:
        """What publishes its lists."""
        return self._present().publisher

    @property
    def renewal(self) -> ResponderRenewal:
        """What renews its responder."""
        return self._present().renewal
