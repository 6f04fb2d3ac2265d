"""Broken messages by construction: each field of a good DER message, broken in turn in each way that fits it.

A field is broken alone: the lengths around it are right again, but for the breaks of a length. Strings whose content is
DER of its own are entered as well.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

SEQUENCE, SET, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, BOOLEAN = 0x30, 0x31, 2, 3, 4, 5, 6, 1
TIMES = (0x17, 0x18)


@dataclass
class Node:
    """One element; `inside` are the elements of its content, where it has any, after `before` (unused bits)."""

    tag: int
    content: bytes
    inside: "list[Node]" = field(default_factory=list)
    before: bytes = b""
    raw: bytes | None = None
    """The element as it stands, right or wrong."""

    def encode(self) -> bytes:
        """Return the element, with the lengths that fit."""
        if self.raw is not None:
            return self.raw
        content = self.before + b"".join(map(Node.encode, self.inside)) if self.inside else self.content
        return bytes((self.tag,)) + length_of(len(content)) + content


@dataclass(frozen=True)
class Broken:
    """A message with one break; `name` says where (numbers of elements, from the outermost on) and what."""

    name: str
    der: bytes


def length_of(size: int) -> bytes:
    """Return the one right way to write a length."""
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def read(der: bytes) -> Node:
    """Return the tree of a good message."""
    (node,) = _all(der)
    return node


def with_an_unused_bit(der: bytes, signature: bytes) -> bytes:
    """Return a message with one unused bit declared in its signature, which has to end in an even octet."""
    at = der.index(b"\0" + signature)
    return der[:at] + b"\1" + der[at + 1 :]


def _all(data: bytes) -> list[Node]:
    nodes: list[Node] = []
    while data:
        tag, first = data[0], data[1]
        size, start = (
            (first, 2) if first < 0x80 else (int.from_bytes(data[2 : 2 + (first & 0x7F)], "big"), 2 + first - 128)
        )
        if start + size > len(data):
            raise ValueError("no DER")
        nodes.append(_node(tag, data[start : start + size]))
        data = data[start + size :]
    return nodes


def _node(tag: int, content: bytes) -> Node:
    if tag & 0x20:
        return Node(tag, content, _all(content))
    if tag == OCTET_STRING or (tag == BIT_STRING and content[:1] == b"\0"):
        before = b"" if tag == OCTET_STRING else content[:1]
        try:
            inside = _all(content[len(before) :])
        except (ValueError, IndexError):
            inside = []
        if inside and all(one.tag in {SEQUENCE, INTEGER, OCTET_STRING, OID} and one.content for one in inside):
            return Node(tag, content, inside, before)
    return Node(tag, content)


def breaks(der: bytes, below: tuple[int, ...] = ()) -> Iterator[Broken]:
    """Yield every break of every field of a message; `below` names the element under which alone is broken."""
    for path in _paths(read(der), ()):
        if path[: len(below)] != below:
            continue
        for name, change in WAYS:
            tree = read(der)
            siblings, place = _at(tree, path)
            instead = change(siblings[place])
            if instead is None:
                continue
            siblings[place : place + 1] = instead
            made = b"".join(map(Node.encode, siblings)) if not path else tree.encode()
            if made != der:
                yield Broken(f"{'.'.join(map(str, path)) or 'all'}: {name}", made)
    for name, made in (("something after it", der + b"\0"), ("cut off", der[:-1]), ("nothing", b"")):
        if not below:
            yield Broken(name, made)


def _paths(node: Node, path: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    yield path
    for place, one in enumerate(node.inside):
        yield from _paths(one, (*path, place))


def _at(tree: Node, path: tuple[int, ...]) -> tuple[list[Node], int]:
    siblings, place, node = [tree], 0, tree
    for step in path:
        siblings, place = node.inside, step
        node = siblings[place]
    return siblings, place


def element(tree: Node, path: tuple[int, ...]) -> Node:
    """Return the element of a tree at this place."""
    siblings, place = _at(tree, path)
    return siblings[place]


Way = Callable[[Node], list[Node] | None]


def _tagged(change: Callable[[int], int]) -> Way:
    def way(node: Node) -> list[Node]:
        content = node.encode()[1 + len(length_of(len(_content(node)))) :]
        return [Node(change(node.tag), content)]

    return way


def _content(node: Node) -> bytes:
    return node.before + b"".join(map(Node.encode, node.inside)) if node.inside else node.content


def _raw(make: Callable[[int, bytes], bytes]) -> Way:
    return lambda node: [Node(node.tag, b"", raw=make(node.tag, _content(node)))]


def _filled(change: Callable[[bytes], bytes], *tags: int) -> Way:
    def way(node: Node) -> list[Node] | None:
        if tags and node.tag not in tags:
            return None
        return [Node(node.tag, change(_content(node)))]

    return way


def _number(step: int) -> Way:
    def way(node: Node) -> list[Node] | None:
        if node.tag != INTEGER:
            return None
        value = int.from_bytes(node.content, "big", signed=True) + step
        return [Node(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))]

    return way


def _turned(node: Node) -> list[Node] | None:
    if len(node.inside) < 2:
        return None
    return [Node(node.tag, b"", node.inside[::-1], node.before)]


def _later(node: Node) -> list[Node] | None:
    if node.tag not in TIMES:
        return None
    return [Node(node.tag, node.content[:-2] + (b"1Z" if node.content[-2:-1] == b"0" else b"0Z"))]


WAYS: tuple[tuple[str, Way], ...] = (
    ("another class", _tagged(lambda tag: tag ^ 0x80)),
    ("private", _tagged(lambda tag: tag | 0xC0)),
    ("constructed or not", _tagged(lambda tag: tag ^ 0x20)),
    ("the next tag", _tagged(lambda tag: tag + 1)),
    ("tag of two octets", _raw(lambda tag, c: bytes((tag | 0x1F, 1)) + length_of(len(c)) + c)),
    ("length one more", _raw(lambda tag, c: bytes((tag,)) + length_of(len(c) + 1) + c)),
    ("length one less", _raw(lambda tag, c: bytes((tag,)) + length_of(max(0, len(c) - 1)) + c)),
    ("length of two octets too many", _raw(lambda tag, c: bytes((tag, 0x82)) + len(c).to_bytes(2, "big") + c)),
    ("length of four octets", _raw(lambda tag, c: bytes((tag, 0x84)) + len(c).to_bytes(4, "big") + c)),
    ("length of 127 octets", _raw(lambda tag, c: bytes((tag, 0xFF)) + c)),
    ("length without end", _raw(lambda tag, c: bytes((tag, 0x80)) + c + b"\0\0")),
    ("length of four gigabytes", _raw(lambda tag, c: bytes((tag, 0x84)) + b"\xff" * 4 + c)),
    ("emptied", _filled(lambda c: c[:0])),
    ("last octet gone", _filled(lambda c: c[:-1])),
    ("first octet gone", _filled(lambda c: c[1:])),
    ("an octet more", _filled(lambda c: c + b"\0")),
    ("first bit turned", _filled(lambda c: bytes((c[0] ^ 0x80,)) + c[1:] if c else b"\0")),
    ("last bit turned", _filled(lambda c: c[:-1] + bytes((c[-1] ^ 1,)) if c else b"\1")),
    ("one unused bit", _filled(lambda c: b"\1" + c[1:], BIT_STRING)),
    ("seven unused bits", _filled(lambda c: b"\7" + c[1:], BIT_STRING)),
    ("eight unused bits", _filled(lambda c: b"\x08" + c[1:], BIT_STRING)),
    ("a zero in front", _filled(lambda c: b"\0" + c, INTEGER)),
    ("an FF in front", _filled(lambda c: b"\xff" + c, INTEGER)),
    ("one more", _number(1)),
    ("one less", _number(-1)),
    ("negative", _filled(lambda c: b"\xff" + c if c[0] < 0x80 else c, INTEGER)),
    ("true as one", _filled(lambda _: b"\1", BOOLEAN)),
    ("with a leading 80", _filled(lambda c: b"\x80" + c, OID)),
    ("a second later", _later),
    ("NULL with content", _filled(lambda _: b"\0", NULL)),
    ("twice", lambda node: [node, node]),
    ("not there", lambda _: []),
    ("NULL instead", lambda _: [Node(NULL, b"")]),
    ("NULL behind it", lambda node: [node, Node(NULL, b"")]),
    ("turned round", _turned),
)
