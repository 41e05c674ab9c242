#!/usr/bin/env python3
"""Checks a proof of Bygone: that an event is in a log, without any of the log.

    bygone shop.bygone "PROVE #42" > proof.json
    python3 prove.py proof.json SIZE ROOT             # how many events the log had, and the root that was noted of them
    python3 prove.py proof.json head.txt PUBLIC_KEY   # a head that was signed (the note of SIGN HEAD), and the key of whoever did

A head of 1204 events goes with the proof that PROVE #42 AS OF #1204 gives.

Nothing but Python is needed, 3.8 or later. BLAKE3 and Ed25519 are here as their papers define them, short and slow:
https://github.com/BLAKE3-team/BLAKE3-specs, https://www.rfc-editor.org/rfc/rfc8032. The tree is that of RFC 6962 with BLAKE3,
and how an event is stored is told in docs/FORMAT.md.
"""

import base64
import hashlib
import json
import struct
import sys

# BLAKE3, without a key.

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
WORD = 0xFFFFFFFF


def compress(chaining, block, counter, length, flags):
    s = list(chaining) + list(IV[:4]) + [counter & WORD, counter >> 32, length, flags]
    m = list(block)

    def mix(a, b, c, d, x, y):
        for add, turn_d, turn_b in ((x, 16, 12), (y, 8, 7)):
            s[a] = (s[a] + s[b] + add) & WORD
            s[d] ^= s[a]
            s[d] = (s[d] >> turn_d | s[d] << (32 - turn_d)) & WORD
            s[c] = (s[c] + s[d]) & WORD
            s[b] ^= s[c]
            s[b] = (s[b] >> turn_b | s[b] << (32 - turn_b)) & WORD

    for turn in range(7):
        for column in range(4):
            mix(column, 4 + column, 8 + column, 12 + column, m[2 * column], m[2 * column + 1])
        for column in range(4):
            mix(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4,
                m[8 + 2 * column], m[9 + 2 * column])
        m = [m[at] for at in ORDER]
    return [s[at] ^ s[at + 8] for at in range(8)]


def blake3(data):
    def chunk(at, is_root):
        part, chaining = data[at * 1024:(at + 1) * 1024], IV
        blocks = [part[begin:begin + 64] for begin in range(0, len(part), 64)] or [b""]
        for number, block in enumerate(blocks):
            last = number == len(blocks) - 1
            flags = (CHUNK_START if number == 0 else 0) | (CHUNK_END if last else 0) | (ROOT if last and is_root else 0)
            words = struct.unpack("<16I", block.ljust(64, b"\0"))
            chaining = compress(chaining, words, at, len(block), flags)
        return chaining

    def tree(first, count, is_root):
        if count == 1:
            return chunk(first, is_root)
        left = 1 << (count - 1).bit_length() - 1
        words = tree(first, left, False) + tree(first + left, count - left, False)
        return compress(IV, words, 0, 64, PARENT | (ROOT if is_root else 0))

    return struct.pack("<8I", *tree(0, max(1, -(-len(data) // 1024)), True))


# The tree.

def is_map(stored):
    if not stored:
        return False
    found, end = value(stored, 0)
    return isinstance(found, dict) and end == len(stored)


def root_of(proof, size):
    """The root that a proof leads to in a log of that size (RFC 9162, section 2.1.3.2)."""
    header, data, metadata = (bytes.fromhex(proof[name]) for name in ("header", "data", "metadata"))
    # Values that are stored encrypted: none of nearly all events. They begin with a number, which begins with 0.
    encrypted = bytes.fromhex(proof.get("encrypted", ""))
    if encrypted[:1] not in (b"", b"\0"):
        raise SystemExit("no proof: the event is not whole")
    # They are hashed one behind the other: so they are parted in one place only.
    if not is_map(data) or metadata and (not is_map(metadata) or metadata == b"\x80"):
        raise SystemExit("no proof: the event is not whole")
    index, last = proof["position"] - 1, size - 1
    if not 0 <= index <= last:
        raise SystemExit("no proof: the event is not within the log")
    found = blake3(b"\0" + header + blake3(data + metadata + encrypted))
    for other in map(bytes.fromhex, proof["path"]):
        if last == 0:
            raise SystemExit("no proof: the path is too long")
        if index & 1 or index == last:
            found = blake3(b"\1" + other + found)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            found = blake3(b"\1" + found + other)
        index, last = index >> 1, last >> 1
    if last:
        raise SystemExit("no proof: the path is too short")
    return found.hex()


# The event, as it is stored: MessagePack.

def value(stored, at):
    """A value, and where it ends."""
    try:
        found, end = value_of(stored, at)
    except (IndexError, struct.error, UnicodeDecodeError, TypeError):
        raise SystemExit("no proof: the event is not whole") from None
    if end > len(stored):
        raise SystemExit("no proof: the event is not whole")
    return found, end


def value_of(stored, at):
    first = stored[at]
    at += 1
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 256, at
    sizes = {0xC4: 1, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
    numbers = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
               0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
    if first in numbers:
        form = numbers[first]
        end = at + struct.calcsize(form)
        return struct.unpack(form, stored[at:end])[0], end
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first in sizes:
        count, at = int.from_bytes(stored[at:at + sizes[first]], "big"), at + sizes[first]
    else:
        count = first & (0x1F if 0xA0 <= first < 0xC0 else 0x0F)
    if first == 0xC4:
        return stored[at:at + count], at + count
    if 0xA0 <= first < 0xC0 or first in (0xD9, 0xDA, 0xDB):
        return stored[at:at + count].decode(), at + count
    is_map = first < 0x90 or first in (0xDE, 0xDF)
    found = []
    for _ in range(2 * count if is_map else count):
        item, at = value(stored, at)
        found.append(item)
    return (dict(zip(found[::2], found[1::2])) if is_map else found), at


def event_of(proof):
    header, at, facts = bytes.fromhex(proof["header"]), 0, []
    while at < len(header):
        fact, at = value(header, at)
        facts.append(fact)
    mask, version, identity, kind, seconds, nanos, *rest = facts
    if isinstance(identity, bytes):
        digits = identity.hex()
        identity = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    event = {"position": proof["position"], "id": identity, "type": kind, "recorded": [seconds, nanos]}
    if mask & 1:
        event["timestamp"], rest = rest[:2], rest[2:]
    if mask & 2:
        own = mask & 4
        event["target"] = rest[:2] if own else [kind.split(".")[0], rest[0]]
        event["version"], rest = version, rest[2 if own else 1:]
    if mask & 8:
        event["actor"] = rest[:2]
    event["data"] = value(bytes.fromhex(proof["data"]), 0)[0]
    if proof["metadata"]:
        event["metadata"] = value(bytes.fromhex(proof["metadata"]), 0)[0]
    return event


# Ed25519 (RFC 8032, section 6), to check signatures alone.

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(a, b):
    x, y = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = y - x, d - c, d + c, y + x
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, point):
    found = (0, 1, 1, 0)
    while number:
        if number & 1:
            found = add(found, point)
        point, number = add(point, point), number >> 1
    return found


def decompress(stored):
    y = int.from_bytes(stored, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        raise ValueError("no point")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public, message, signature):
    try:
        key, point = decompress(public), decompress(signature[:32])
    except ValueError:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or scalar >= Q:
        return False
    hashed = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % Q
    left, right = times(scalar, BASE), add(point, times(hashed, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def signed_head(note, public):
    """The log, the size and the root that a note says, if the key has signed it."""
    wrong = SystemExit("no proof: this key has not signed that head")
    # Eight times a key that anybody can sign for is nothing.
    try:
        weak = times(8, decompress(public))
    except ValueError:
        raise wrong from None
    text, _, signatures = note.partition("\n\n")
    text += "\n"
    lines = text.split("\n")
    if len(public) != 32 or weak[0] % P == 0 or len(lines) < 4 or not signatures.endswith("\n") or not lines[1].isdecimal():
        raise wrong
    log, size, root = lines[:3]
    own = hashlib.sha256(log.encode() + b"\n\x01" + public).digest()[:4]
    signed = False
    for line in signatures[:-1].split("\n"):
        try:
            dash, name, signature = line.split(" ")
            signature = base64.b64decode(signature, validate=True)
        except ValueError:
            raise wrong from None
        good = (dash, name) == ("—", log) and signature[:4] == own
        signed |= good and is_signed(public, text.encode(), signature[4:])
    if not signed:
        raise wrong
    return log, int(size), base64.b64decode(root, validate=True).hex()


def main(arguments):
    if len(arguments) != 3:
        raise SystemExit(__doc__)
    with open(arguments[0], encoding="utf-8") as file:
        proof = json.load(file)
    if arguments[1].isdecimal():
        log, size, root = "the log", int(arguments[1]), arguments[2]
    else:
        with open(arguments[1], encoding="utf-8") as file:
            log, size, root = signed_head(file.read(), bytes.fromhex(arguments[2]))
    if proof["size"] != size:
        raise SystemExit(f"no proof: it is of a log of {proof['size']} events, and the head of one of {size} (PROVE ... AS OF #{size})")
    if root_of(proof, size) != root:
        raise SystemExit("no proof: it leads to another root")
    print(json.dumps(event_of(proof), ensure_ascii=False))
    print(f"#{proof['position']} is one of the {size} events of {log} whose root is {root}")


main(sys.argv[1:])
