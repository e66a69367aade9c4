#!/usr/bin/env python3
"""A stranger's client: redeems an invitation and writes one message, by docs/protocol.md alone.

    examples/first_contact.py --loopback DIRECTORY < invitation     # a node with transport = "loopback:DIRECTORY"
    examples/first_contact.py --socks 127.0.0.1:9050 < invitation   # over a tor that runs beside

It makes an identity for the occasion and forgets it: nobody can answer. It is here to show that the document is
enough, and what an implementation consists of. Needs Python 3.9 and the package `cryptography` with ML-KEM (48).
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import socket
import struct
import sys
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESOCB3
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

PORT = 7863
DAY = 86_400
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


def u32(number):
    return struct.pack(">I", number)


def u64(number):
    return struct.pack(">Q", number)


def sha256(data):
    return hashlib.sha256(data).digest()


def onion_name(key):
    """Section "Addresses"."""
    checksum = hashlib.sha3_256(b".onion checksum" + key + b"\x03").digest()[:2]
    return base64.b32encode(key + checksum + b"\x03").decode().lower()


class Invitation:
    """Section "Invitation"."""

    def __init__(self, text):
        text = "".join(text.split()).replace("-", "").lower()
        if not text.startswith("rune:"):
            sys.exit("an invitation begins with rune:")
        text, data = text[5:], ""
        for place in range(0, len(text), 32):
            group, check = text[place : place + 32][:-2], text[place : place + 32][-2:]
            bits = int.from_bytes(sha256(b"rune invitation group" + bytes([place // 32]) + group.encode())[:2], "big") >> 6
            if check != BASE32[bits >> 5] + BASE32[bits & 31]:
                sys.exit(f"mistyped: {group}{check}")
            data += group
        octets = base64.b32decode(data.upper() + "=" * (-len(data) % 8))
        octets, check = octets[:-4], octets[-4:]
        if sha256(octets)[:4] != check or octets[0] != 1 or octets[1] & ~3:
            sys.exit("not an invitation of version 1")
        self.onion, self.fingerprint = octets[2:34], octets[34:66]
        end = 67 + octets[66]
        self.address = f"{octets[67:end].decode()}@{onion_name(self.onion)}.onion"
        self.secret = octets[end : end + 16] if octets[1] & 1 else None


def packet(kind, body):
    return bytes([0xC0 | kind, 0xFF]) + u32(len(body)) + body


def packets(octets):
    while octets:
        length, start = octets[1], 2
        if length == 255:
            length, start = struct.unpack(">I", octets[2:6])[0], 6
        elif length >= 192:
            length, start = (length - 192) * 256 + octets[2] + 192, 3
        yield octets[0] & 0x3F, octets[start : start + length]
        octets = octets[start + length :]


def hashed_key(body):
    return b"\x9b" + u32(len(body)) + body


def subpacket(kind, value):
    return bytes([len(value) + 1, kind]) + value


class Identity:
    """Sections "Binding statement" and "Certificates"."""

    def __init__(self, name):
        onion, self.primary = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.created = int(time.time()) // DAY * DAY - 40 * DAY
        key = self.key_body(27, self.primary.public_key().public_bytes_raw())
        self.fingerprint = sha256(hashed_key(key))
        # Nobody answers, so that the secret halves can be forgotten here.
        ecdh, mlkem = X25519PrivateKey.generate().public_key(), MLKEM768PrivateKey.generate().public_key()
        subkey = self.key_body(35, ecdh.public_bytes_raw() + mlkem.public_bytes_raw())
        self.certificate = (
            packet(6, key)
            + self.sign(0x1F, hashed_key(key), self.created, subpacket(30, b"\x08"))
            + packet(14, subkey)
            + self.sign(0x18, hashed_key(key) + hashed_key(subkey), self.created, subpacket(27, b"\x0c"))
        )
        label = onion_name(onion.public_key().public_bytes_raw())
        self.address = f"{name}@{label}.onion"
        fingerprint = self.fingerprint.hex().upper()
        statement = f"RUNE/1 binding\nonion: {label}.onion\nfingerprint: {fingerprint}\nepoch: 1\n".encode()
        self.binding = {
            "epoch": 1,
            "onion_signature": base64.b64encode(onion.sign(statement)).decode(),
            "key_signature": base64.b64encode(self.sign(0x00, statement, self.created)).decode(),
        }

    def key_body(self, algorithm, material):
        return bytes([6]) + u32(self.created) + bytes([algorithm]) + u32(len(material)) + material

    def sign(self, kind, data, date, more=b"", salt=None):
        """Section "Signatures"."""
        salt = salt or os.urandom(16)
        head = bytes([6, kind, 27, 8])
        hashed = subpacket(2, u32(date)) + subpacket(33, b"\x06" + self.fingerprint) + more
        digest = sha256(salt + data + head + u32(len(hashed)) + hashed + b"\x06\xff" + u32(len(hashed) + 8))
        body = head + u32(len(hashed)) + hashed + u32(0) + digest[:2] + bytes([len(salt)]) + salt
        return packet(2, body + self.primary.sign(digest))

    def card(self, secret):
        """Section "Card"."""
        card = {
            "counter": 1,
            "address": self.address,
            "certificate": base64.b64encode(self.certificate).decode(),
            "binding": self.binding,
            "auth_key": base64.b64encode(os.urandom(32)).decode(),
        }
        if secret:
            card["invitation"] = base64.b64encode(secret).decode()
        return json.dumps(card).encode()


class Recipient:
    """The receiver's certificate. Checked is only what an example needs: its primary key, which everything hangs on."""

    def __init__(self, certificate, fingerprint):
        parts = list(packets(certificate))
        if parts[0][0] != 6 or sha256(hashed_key(parts[0][1])) != fingerprint:
            sys.exit("the receiver's key is not the invitation's: stop, and tell whoever gave it to you")
        subkey = [body for kind, body in parts if kind == 14][-1]
        self.fingerprint, self.digest = fingerprint, sha256(certificate)
        self.ecdh, self.mlkem = subkey[10:42], subkey[42:]


def message(content, author, recipient):
    """The packets of section "Objects", and the size of the object that holds them."""
    salt, today = os.urandom(16), int(time.time()) // DAY * DAY
    signature = author.sign(0x00, content, today, subpacket(35, b"\x06" + recipient.fingerprint), salt)
    one_pass = packet(4, bytes([6, 0, 8, 27, len(salt)]) + salt + author.fingerprint + b"\x01")
    plain = one_pass + packet(11, b"b" + bytes(5) + content) + signature
    for size in [4096, 16_384, 65_536, 262_144] + [count << 20 for count in range(1, 28)]:
        chunks = size - 1167 - 6 - 36 - 16
        room = chunks // 4112 * 4096 + max(chunks % 4112 - 16, 0)
        if room >= len(plain) + 6:
            return plain + packet(21, os.urandom(room - len(plain) - 6)), size
    sys.exit("too large")


def seal(content, author, recipient):
    """Section "Objects"."""
    plain, size = message(content, author, recipient)
    key, salt, share = os.urandom(32), os.urandom(32), X25519PrivateKey.generate()
    mlkem_secret, ciphertext = MLKEM768PublicKey.from_public_bytes(recipient.mlkem).encapsulate()
    ecdh_secret = share.exchange(X25519PublicKey.from_public_bytes(recipient.ecdh))
    share = share.public_key().public_bytes_raw()
    kek = mlkem_secret + ecdh_secret + share + recipient.ecdh + b"\x23" + b"OpenPGPCompositeKDFv1" + b"\x15"
    wrapped = aes_key_wrap(hashlib.sha3_256(kek).digest(), key)
    info = bytes.fromhex("D202090206")
    derived = HKDF(hashes.SHA256(), 39, salt, info).derive(key)
    cipher, vector = AESOCB3(derived[:32]), derived[32:]
    chunks = [plain[place : place + 4096] for place in range(0, len(plain), 4096)]
    sealed = b"".join(cipher.encrypt(vector + u64(index), chunk, info) for index, chunk in enumerate(chunks))
    sealed += cipher.encrypt(vector + u64(len(chunks)), b"", info + u64(len(plain)))
    session_key = b"\xc1\xc3\xcc" + b"\x06\x00\x23" + share + ciphertext + bytes([len(wrapped)]) + wrapped
    sealed_object = session_key + packet(18, bytes([2, 9, 2, 6]) + salt + sealed)
    assert len(sealed_object) == size
    return sealed_object


def content(kind, payload):
    """Section "Content"."""
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5 * DAY))
    return f"RUNE-CONTENT {kind} critical\nId: {os.urandom(16).hex()}\nExpires: {expires}\n\n".encode() + payload


class Session:
    """Sections "Connection and greeting", "Delivery" and "Authenticator"."""

    def __init__(self, stream, invitation):
        self.stream, self.replies, self.invitation = stream, stream.makefile("rb"), invitation
        self.line()
        self.stream.sendall(f"SEND {invitation.address}\n".encode())
        block = self.line().split()[2]
        self.recipient = Recipient(self.replies.read(int(block.lstrip("#"))), invitation.fingerprint)

    def line(self):
        line = self.replies.readline().decode().strip()
        print("S:", line if len(line) < 100 else f"{line[:99]}…")
        if not line or line[0] in "47":
            sys.exit("the receiver refused, or went away")
        return line

    def deliver(self, sealed_object):
        digest, size = sha256(sealed_object), len(sealed_object)
        send = f"SEND {self.invitation.address} CERT={self.recipient.digest.hex()} HASH={digest.hex()} SIZE={size}"
        if self.invitation.secret:
            key = hmac.digest(self.invitation.secret, b"RUNE/1 invitation auth", "sha256")
            send += " AUTH=" + hmac.digest(key, b"RUNE/1 SEND\0" + self.invitation.onion + digest + u64(size), "sha256").hex()
        self.stream.sendall(f"{send}\nMESSAGE - #{size}\n".encode() + sealed_object)
        self.line()
        self.line()

    def quit(self):
        self.stream.sendall(b"QUIT\n")
        self.line()


def connect(options, label):
    if options.loopback:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(60)
        stream.connect(os.path.join(options.loopback, label))
        return stream
    host, port = options.socks.rsplit(":", 1)
    stream = socket.create_connection((host, int(port)), timeout=120)
    name = f"{label}.onion".encode()
    stream.sendall(b"\x05\x01\x00")
    method = stream.recv(2, socket.MSG_WAITALL)
    stream.sendall(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack(">H", PORT))
    if method != b"\x05\x00" or stream.recv(10, socket.MSG_WAITALL)[:2] != b"\x05\x00":
        sys.exit("the onion cannot be reached")
    return stream


def main():
    parser = argparse.ArgumentParser(description="Redeems the invitation on standard input and writes one message.")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--loopback", metavar="DIRECTORY", help="the directory of a loopback transport")
    way.add_argument("--socks", metavar="HOST:PORT", help="the SOCKS port of a tor")
    parser.add_argument("--name", default="stranger", help="the part of the new address before @")
    options = parser.parse_args()

    # From standard input: arguments are visible to everybody on the machine.
    invitation, me = Invitation(sys.stdin.read()), Identity(options.name)
    session = Session(connect(options, onion_name(invitation.onion)), invitation)
    session.deliver(seal(content("card/1", me.card(invitation.secret)), me, session.recipient))
    host = me.address.partition("@")[2]
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
    mail = (
        f"From: <{me.address}>\r\nTo: <{invitation.address}>\r\nSubject: Written by another program\r\nDate: {date}\r\n"
        f"Message-ID: <{os.urandom(8).hex()}@{host}>\r\n\r\nBy docs/protocol.md alone.\r\n"
    )
    session.deliver(seal(content("mail/1", mail.encode()), me, session.recipient))
    session.quit()


if __name__ == "__main__":
    main()
