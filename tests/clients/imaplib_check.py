#!/usr/bin/env python3
"""Python's imaplib against the IMAP gateway: imaplib_check.py HOST PORT USER PASSWORD

Lists, appends, fetches, flags, copies, searches, idles and expunges in folders of its own, and checks what comes
back byte for byte. Ends 0 and prints one line when everything held; otherwise an assertion says what did not.
"""

import imaplib
import re
import socket
import sys

SUBJECT = "Check \u00fcber alles"
MESSAGE = (
    "Date: Mon, 2 Nov 2026 10:00:00 +0100\r\n"
    "From: Bob <bob@example.onion>\r\n"
    "To: alice@example.onion\r\n"
    "Subject: =?utf-8?Q?Check_=C3=BCber_alles?=\r\n"
    "MIME-Version: 1.0\r\n"
    'Content-Type: multipart/mixed; boundary="b"\r\n'
    "\r\n"
    "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    "Sch\u00f6ne Gr\u00fc\u00dfe\r\n"
    "--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + "QUJD" * 18
    + "\r\n--b--\r\n"
).encode("utf-8")
FOLDER = "imaplib-check"
OTHER = "imaplib-check/Entw&APw-rfe"


def ok(answer):
    status, data = answer
    assert status == "OK", answer
    return data


def number(box):
    return int(ok(box.search(None, "ALL"))[0].split()[-1])


def idle(box, host, port, user, password):
    """IDLE by hand (imaplib learnt it in 3.14), while a second connection appends."""
    tag = b"IDLE1"
    box.send(tag + b" IDLE\r\n")
    assert box.readline().startswith(b"+ ")
    second = imaplib.IMAP4(host, port)
    ok(second.login(user, password))
    ok(second.append(FOLDER, None, None, MESSAGE))
    box.sock.settimeout(10)
    line = box.readline()
    assert re.match(rb"\* \d+ EXISTS", line), line
    # DONE and the next command in one packet.
    box.send(b"DONE\r\nIDLE2 NOOP\r\n")
    assert box.readline().startswith(tag + b" OK")
    assert box.readline().startswith(b"IDLE2 OK")
    box.sock.settimeout(None)
    second.logout()


def main():
    host, port, user, password = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    socket.setdefaulttimeout(30)
    wrong = imaplib.IMAP4(host, port)
    try:
        wrong.login(user, password + "x")
        raise AssertionError("a wrong password was accepted")
    except imaplib.IMAP4.error:
        pass
    wrong.shutdown()

    box = imaplib.IMAP4(host, port)
    assert "IMAP4REV1" in box.capabilities, box.capabilities
    ok(box.authenticate("PLAIN", lambda _: b"\0" + user.encode() + b"\0" + password.encode()))
    ok(box.namespace())
    for folder in (OTHER, FOLDER):
        box.delete(folder)
    ok(box.create(FOLDER))
    ok(box.create(OTHER))
    names = [line.decode() for line in ok(box.list())]
    assert any(line.endswith('"INBOX"') for line in names), names
    assert any(OTHER in line for line in names), names
    assert any("\\Sent" in line for line in names), names
    ok(box.subscribe(OTHER))
    assert any(OTHER.encode() in line for line in ok(box.lsub())), "LSUB"

    uid_line = ok(box.append(FOLDER, r"(\Flagged $Check)", '"02-Nov-2026 10:00:00 +0100"', MESSAGE))[0]
    found = re.search(rb"APPENDUID (\d+) (\d+)", uid_line)
    assert found and int(found[1]) > 0, uid_line
    uid = found[2].decode()
    status = ok(box.status(FOLDER, "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)"))[0]
    assert b"MESSAGES 1" in status and b"UNSEEN 1" in status and b"UIDVALIDITY " + found[1] in status, status

    assert ok(box.select(FOLDER)) == [b"1"]
    data = ok(box.uid("FETCH", uid, "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
    assert data[0][1] == MESSAGE, data
    head = data[0][0].decode()
    assert f"UID {uid} " in head and f"RFC822.SIZE {len(MESSAGE)} " in head, head
    assert r"\Flagged" in head and "$Check" in head and " 2-Nov-2026 09:00:00 +0000" in head, head
    assert ok(box.uid("FETCH", uid, "(BODY.PEEK[1])"))[0][1] == "Sch\u00f6ne Gr\u00fc\u00dfe".encode()
    assert ok(box.uid("FETCH", uid, "(BODY.PEEK[]<0.100>)"))[0][1] == MESSAGE[:100]
    assert ok(box.uid("FETCH", uid, f"(BODY.PEEK[]<100.{len(MESSAGE)}>)"))[0][1] == MESSAGE[100:]
    header = ok(box.uid("FETCH", uid, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))[0][1]
    assert header == b"Subject: =?utf-8?Q?Check_=C3=BCber_alles?=\r\n\r\n", header
    structure = ok(box.uid("FETCH", uid, "(BODYSTRUCTURE ENVELOPE)"))[0]
    assert b'"octet-stream"' in structure and b'"bob" "example.onion"' in structure, structure

    for charset, keys in (
        (None, ("SUBJECT", "alles")),
        (None, ("UNSEEN", "FLAGGED", "KEYWORD", "$Check", "SINCE", "1-Nov-2026")),
        (None, ("OR", "FROM", "nobody", "TO", "ALICE")),
    ):
        assert ok(box.search(charset, *keys)) == [b"1"], keys
    box.literal = "SCH\u00d6NE".encode()
    assert ok(box.search("UTF-8", "BODY")) == [b"1"], "SEARCH with a literal"
    assert ok(box.uid("SEARCH", "*:*")) == [uid.encode()]

    ok(box.store("1", "+FLAGS", r"(\Seen)"))
    assert rb"\Seen" in ok(box.fetch("1", "(FLAGS)"))[0]
    ok(box.uid("COPY", uid, OTHER))
    ok(box.uid("MOVE", uid, OTHER))
    ok(box.noop())
    assert ok(box.search(None, "ALL")) == [b""]

    idle(box, host, port, user, password)
    ok(box.store("1:*", "+FLAGS.SILENT", r"(\Deleted)"))
    # imaplib keeps the EXPUNGE of the MOVE before in the same list.
    assert ok(box.expunge())[-1] == b"1"
    assert ok(box.search(None, "ALL")) == [b""]
    ok(box.select(OTHER, readonly=True))
    assert number(box) == 2
    ok(box.close())
    ok(box.rename(FOLDER + "/Entw&APw-rfe", FOLDER + "/Neu"))
    ok(box.delete(FOLDER + "/Neu"))
    ok(box.delete(FOLDER))
    box.logout()
    print("imaplib: everything held")


if __name__ == "__main__":
    main()
