#!/usr/bin/env python3
"""A client of a carrier, written from docs/protocol.md ("Box") alone. It reads an invitation to a box on standard input, registers,
uploads tokens, leaves two objects against them, lists them, fetches one in parts, and deletes them.

It shares what every RUNE client needs (packets, keys, sealing, the text of an invitation) with examples/first_contact.py, and
needs the same: Python 3.9 and `cryptography` 48 from PyPI.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples"))

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESOCB3, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from first_contact import DAY, Identity, Invitation, Recipient, content, hashed_key, onion_name, packet, packets, seal, sha256, u32, u64, subpacket


class Drop(Identity):
    """Keys that can open what is sealed to them (sections "Certificates" and "Objects")."""

    def __init__(self):
        super().__init__("box")
        self.ecdh, self.mlkem = X25519PrivateKey.generate(), MLKEM768PrivateKey.generate()
        key = self.key_body(27, self.primary.public_key().public_bytes_raw())
        subkey = self.key_body(35, self.ecdh.public_key().public_bytes_raw() + self.mlkem.public_key().public_bytes_raw())
        self.certificate = (
            packet(6, key)
            + self.sign(0x1F, hashed_key(key), self.created, subpacket(30, b"\x08"))
            + packet(14, subkey)
            + self.sign(0x18, hashed_key(key) + hashed_key(subkey), self.created, subpacket(27, b"\x0c"))
        )
        self.name = self.fingerprint.hex().upper()

    def open(self, sealed, author):
        """The content, where this certificate signed it for us."""
        (_, session), (_, data) = packets(sealed)
        share, ciphertext, wrapped = session[3:35], session[35:1123], session[1124:]
        mine = self.ecdh.public_key().public_bytes_raw()
        secrets = self.mlkem.decapsulate(ciphertext) + self.ecdh.exchange(X25519PublicKey.from_public_bytes(share))
        kek = hashlib.sha3_256(secrets + share + mine + b"\x23" + b"OpenPGPCompositeKDFv1" + b"\x15").digest()
        info, salt, chunks = bytes.fromhex("D202090206"), data[4:36], data[36:-16]
        derived = HKDF(hashes.SHA256(), 39, salt, info).derive(aes_key_unwrap(kek, wrapped))
        cipher, vector = AESOCB3(derived[:32]), derived[32:]
        pieces = [chunks[place : place + 4112] for place in range(0, len(chunks), 4112)]
        plain = b"".join(cipher.decrypt(vector + u64(index), piece, info) for index, piece in enumerate(pieces))
        cipher.decrypt(vector + u64(len(pieces)), data[-16:], info + u64(len(plain)))
        parts = dict(packets(plain))
        self.verify(parts[2], parts[11][6:], author)
        return parts[11][6:]

    def verify(self, signature, signed, author):
        length = int.from_bytes(signature[4:8], "big")
        hashed, rest = signature[: 8 + length], signature[8 + length :]
        unhashed = int.from_bytes(rest[:4], "big")
        rest = rest[4 + unhashed + 2 :]
        salt, value = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        digest = sha256(salt + signed + hashed + b"\x06\xff" + u32(len(hashed)))
        key = [body for kind, body in packets(author) if kind == 6][0][10:42]
        Ed25519PublicKey.from_public_bytes(key).verify(value, digest)
        if subpacket(35, b"\x06" + self.fingerprint) not in hashed:
            raise InvalidSignature("it was signed for somebody else")


class Session:
    """Lines and blocks (sections "Lines and blocks" and "Connection and greeting")."""

    def __init__(self, options, onion):
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.settimeout(60)
        self.stream.connect(os.path.join(options.loopback, onion_name(onion)))
        self.replies = self.stream.makefile("rb")
        greeting = self.read()[0].split()
        assert greeting[0] == "HOWDY" and "RUNE/1" in greeting and "CAP=BOX" in greeting, greeting

    def read(self):
        """A line and its blocks."""
        line = self.replies.readline().decode().strip()
        print("S:", line if len(line) < 100 else f"{line[:99]}…")
        assert line, "the carrier went away"
        sizes = [int(word[1:]) for word in line.split() if word.startswith("#") and word[1:].isdigit()]
        return line, [self.replies.read(size) for size in sizes]

    def ask(self, command, *blocks):
        """The last line of the answer, its blocks, and the lines before it."""
        print("C:", command if len(command) < 100 else f"{command[:99]}…")
        self.stream.sendall(command.encode() + b"\n" + b"".join(blocks))
        before = []
        while True:
            line, got = self.read()
            if not line.split()[0].endswith("-"):
                return line, got, before
            before.append(line)

    def expect(self, code, command, *blocks):
        line, got, before = self.ask(command, *blocks)
        assert line.split()[0] == str(code), f"{line} is not {code}"
        return line.split()[1:], got, before


def register(session, drop, invitation):
    """Section "Registration"."""
    certificate = drop.certificate
    command = f"REGISTER_INVITATION - {invitation.secret.hex()} #{len(certificate)}"
    _, (challenge, server), _ = session.expect(215, command, certificate)
    carrier = Recipient(server, invitation.fingerprint)
    header, _, payload = drop.open(challenge, server).partition(b"\n\n")
    assert header.split(b"\n")[0] == b"RUNE-CONTENT challenge/1 critical", header
    lines = payload.decode().split("\n")
    expected = ["RUNE/1 registration", f"server: {onion_name(invitation.onion)}.onion", f"key: {drop.name}"]
    assert lines[:3] == expected and lines[3].startswith("nonce: "), lines
    answer = seal(content("challenge-answer/1", payload), drop, carrier)
    # As the draft spells it.
    words, _, _ = session.expect(210, f"CHALLANGE_ACCEPTED #{len(answer)}", answer)
    assert words == [drop.name], words


def identify(session, drop, invitation, purpose="collect", respond="RESPOND"):
    """Section "Identification"."""
    words, _, _ = session.expect(216, f'IDENTIFY {drop.name} PURPOSE="{purpose}"')
    assert words[1:] in ([], ["session"]), words
    mine = os.urandom(32).hex()
    text = (
        f"RUNE/1 identification\nserver: {onion_name(invitation.onion)}.onion\nkey: {drop.name}\n"
        f"server-nonce: {words[0]}\nclient-nonce: {mine}\npurpose: {purpose}\ncommand: session\n"
    )
    signature = drop.sign(0x00, text.encode(), int(time.time()) // DAY * DAY)
    session.expect(211, f"{respond} {mine} #{len(signature)}", signature)


def tokens(seed, epoch, size_class, count):
    """Section "Tokens"."""
    place = lambda i: b"RUNE/1 token\0" + u32(epoch) + bytes([size_class]) + u32(i)
    return [hmac.digest(seed, place(i), "sha256") for i in range(count)]


def page_keys(secret, onion):
    """Section "Pages": the token, and the key."""
    derive = lambda label: hmac.digest(secret, label + b"\0" + onion, "sha256")
    return derive(b"RUNE/1 page token"), derive(b"RUNE/1 page key")


def pages(options, session, drop, invitation, answer):
    """Leaves a page for an invitation, fetches it like whoever has that, and answers it."""
    token, key = page_keys(os.urandom(16), invitation.onion)
    nonce, text = os.urandom(12), u32(len(drop.certificate)) + drop.certificate
    page = nonce + ChaCha20Poly1305(key).encrypt(nonce, text.ljust(4096 - 28, b"\0"), None)
    session.expect(221, f"PAGE {sha256(token).hex()} {int(time.time()) // DAY + 7} #{len(page)}", page)
    guest = Session(options, invitation.onion)
    guest.expect(420, f"FETCH {os.urandom(32).hex()}")
    _, (got,), _ = guest.expect(251, f"FETCH {token.hex()}")
    plain = ChaCha20Poly1305(key).decrypt(got[:12], got[12:], None)
    assert plain[4 : 4 + int.from_bytes(plain[:4], "big")] == drop.certificate
    assert deposit(options, invitation, token, answer) == ("201", "202")
    assert deposit(options, invitation, token, answer) == ("201", "202"), "the same again is the same"
    assert deposit(options, invitation, token, seal(content("mail/1", b""), drop, Recipient(drop.certificate, drop.fingerprint)))[0] == "420"


def deposit(options, invitation, token, sealed):
    """Section "Deposit": on a connection of its own, and without a name. The codes of both answers."""
    session = Session(options, invitation.onion)
    asked, _, _ = session.ask(f"DEPOSIT {token.hex()} HASH={sha256(sealed).hex()} SIZE={len(sealed)}")
    stored, _, _ = session.ask(f"MESSAGE - #{len(sealed)}", sealed)
    return asked.split()[0], stored.split()[0]


def as_the_drafts_spell_it(options, drop, invitation, expected):
    """Section "Spellings of the drafts", in a mailbox with one object."""
    session = Session(options, invitation.onion)
    session.expect(405, f"CRID 2048 #{len(drop.certificate)}", drop.certificate)
    identify(session, drop, invitation, respond="RESP")
    assert session.expect(240, f"MBOX CHECK {drop.name}::* +RECURSIVE")[0] == [drop.name, "U=1", "T=1"]
    _, _, listed = session.expect(242, f"MBOX INDEX {drop.name}::unread")
    (message,) = (line.split()[1] for line in listed)
    _, (part,), _ = session.expect(252, f"RPRT {drop.name} {message} 1000 END")
    assert part == expected[1000:]
    _, (whole,), _ = session.expect(251, f"RECV {drop.name} {message}")
    _, (again,), _ = session.expect(251, f"MBOX FETCH {drop.name}#{message} -READ")
    assert whole == again == expected
    # Section "Settings", and that each command sees what those before it in the flight did.
    session.expect(290, "SET GLOBAL HOLD 2")
    session.expect(702, "set global hold 99")
    session.expect(290, "SET JSON on")
    session.expect(250, f"RETRIEVE {drop.name}#{message}")
    session.expect(290, "set json off")
    session.expect(253, f"DELE {drop.name} {message}")
    assert session.expect(240, f"CHECK {drop.name}")[0][1:] == ["U=0", "T=0"]
    session.expect(200, "QUIT")


def main():
    parser = argparse.ArgumentParser(description="Rents a box with the invitation on standard input, and uses it.")
    parser.add_argument("--loopback", metavar="DIRECTORY", required=True, help="the directory of a loopback transport")
    options = parser.parse_args()
    text = sys.stdin.read().strip()
    assert text.startswith("rune-box:"), "an invitation to a box begins with rune-box:"
    invitation, drop = Invitation("rune:" + text[len("rune-box:") :]), Drop()

    session = Session(options, invitation.onion)
    register(session, drop, invitation)
    assert Session(options, invitation.onion).ask(f"CHECK {drop.name}")[0].startswith("411"), "not without the key"
    identify(session, drop, invitation)

    seed, epoch = os.urandom(32), int(time.time()) // DAY
    small = tokens(seed, epoch, 12, 4)
    hashed = b"".join(sorted(sha256(token) for token in small))
    session.expect(220, f"TOKENS {epoch} 12 #{len(hashed)}", hashed)
    session.expect(220, f"TOKENS {epoch} 12 #{len(hashed)}", hashed)

    me = Recipient(drop.certificate, drop.fingerprint)
    left = [seal(content("mail/1", f"Subject: {number}\r\n\r\n".encode()), drop, me) for number in range(2)]
    for token, sealed in zip(small, left):
        assert deposit(options, invitation, token, sealed) == ("201", "202")
    assert deposit(options, invitation, small[0], left[0]) == ("201", "202"), "the same again is the same"
    assert deposit(options, invitation, small[0], left[1])[0] == "420", "a token admits one object"
    assert deposit(options, invitation, os.urandom(32), left[1])[0] == "420", "an unknown token admits none"

    # Keywords in any case, two commands on a line, ids.
    words, _, _ = session.expect(240, f"check {drop.name} +RECURSIVE")
    assert words == [drop.name, "U=2", "T=2"], words
    _, _, listed = session.expect(242, f"LIST {drop.name} STATE=unread")
    entries = [line.split()[1:] for line in listed]
    assert len(entries) == 2 and all(entry[1:] == ["4096", str(epoch), "unread"] for entry in entries), entries
    _, _, listed = session.expect(242, f"LIST {drop.name} +JSON LIMIT=1")
    assert len(listed) == 1 and "4096" in listed[0], listed

    first, second = (entry[0] for entry in entries)
    _, (head,), _ = session.expect(252, f"RETRIEVE {drop.name}#{first} OFFSET=0 LENGTH=1000 -READ")
    _, (tail,), _ = session.expect(252, f"RETRIEVE {drop.name}#{first} OFFSET=1000 LENGTH=END -READ")
    assert len(head) == 1000 and head + tail in left, "the parts are the object"
    assert session.expect(240, f"CHECK {drop.name}")[0][1] == "U=2", "nothing was read yet"
    _, (whole,), _ = session.expect(251, f"RETRIEVE {drop.name}#{second}")
    assert sorted([head + tail, whole]) == sorted(left)
    assert drop.open(whole, drop.certificate).startswith(b"RUNE-CONTENT mail/1 critical\n")
    assert session.expect(240, f"CHECK {drop.name}")[0][1] == "U=1", "one was read"
    _, (described,), _ = session.expect(250, f"RETRIEVE {drop.name}#{second} +JSON +PRETTY")
    described = json.loads(described)
    assert base64.b64decode(described["object"]) == whole and described["state"] == "read", described["state"]

    words, _, _ = session.expect(253, f"DELETE {drop.name} {first} {second}")
    assert words == ["2"], words
    session.expect(703, f"RETRIEVE {drop.name}#{first}")
    pages(options, session, drop, invitation, left[0])
    assert session.expect(240, f"CHECK {drop.name}")[0][1:] == ["U=1", "T=1"], "the answer to the page"
    session.expect(200, "QUIT")
    as_the_drafts_spell_it(options, drop, invitation, left[0])
    print("done")


if __name__ == "__main__":
    try:
        main()
    except InvalidTag:
        sys.exit("what came cannot be opened")
