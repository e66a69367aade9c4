#!/usr/bin/env python3
"""Reads the mailbox of a running runepeer, as any program that speaks IMAP can.

    runepeer mail password new script          # shown once
    printf %s THE-PASSWORD | examples/read_mailbox.py --unread
    examples/read_mailbox.py --password-file F --folder INBOX --last 5 --body

Host, port and user come from `runepeer --json mail setup show`. IMAP on loopback has no TLS, and needs none.
Nothing is marked as read, and nothing is changed. Needs Python 3.9 and nothing else.
"""

import argparse
import email
import email.policy
import imaplib
import json
import subprocess
import sys


def arguments():
    parser = argparse.ArgumentParser(description="Reads the mailbox of a running runepeer.")
    parser.add_argument("--runepeer", default="runepeer", help="the program (default: the one on your path)")
    parser.add_argument("--data-dir", help="its data directory, where it is not the usual one")
    parser.add_argument("-i", "--identity", help="which identity, where there are several")
    parser.add_argument("--password-file", help="a file whose first line is the password; standard input otherwise")
    parser.add_argument("--folder", default="INBOX")
    parser.add_argument("--unread", action="store_true", help="only what is unread")
    parser.add_argument("--last", type=int, default=20, metavar="N", help="at most so many, the newest (default: 20)")
    parser.add_argument("--body", action="store_true", help="print the text too")
    return parser.parse_args()


def settings(options):
    """What `runepeer mail setup show` says to any mail program."""
    command = [options.runepeer, "--json"]
    if options.data_dir:
        command += ["--data-dir", options.data_dir]
    if options.identity:
        command += ["--identity", options.identity]
    shown = subprocess.run([*command, "mail", "setup", "show"], stdout=subprocess.PIPE, check=False)
    if shown.returncode != 0:
        sys.exit(shown.returncode)  # It has said why, on standard error.
    return json.loads(shown.stdout)["imap"]


def password(options):
    """Never an argument: those are visible to everybody on the machine."""
    if options.password_file:
        with open(options.password_file, encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    return sys.stdin.readline().rstrip("\r\n")


def text_of(message):
    part = message.get_body(preferencelist=("plain", "html"))
    return part.get_content() if part is not None else ""


def main():
    options = arguments()
    server = settings(options)
    with imaplib.IMAP4(server["host"], server["port"], timeout=30) as imap:
        imap.login(server["user"], password(options))
        quoted = '"' + options.folder.replace("\\", "\\\\").replace('"', '\\"') + '"'
        answer, details = imap.select(quoted, readonly=True)
        if answer != "OK":
            sys.exit(f"{options.folder}: {details[0].decode()}")
        _, found = imap.uid("SEARCH", "UNSEEN" if options.unread else "ALL")
        uids = found[0].split() if found and found[0] else []
        for uid in uids[-options.last:] if options.last > 0 else []:
            _, parts = imap.uid("FETCH", uid, "(FLAGS BODY.PEEK[])")
            whole = next((part for part in parts if isinstance(part, tuple)), None)
            if whole is None:
                continue  # Expunged since the search.
            message = email.message_from_bytes(whole[1], policy=email.policy.default)
            print(f"{uid.decode():>6}  {message['Date'] or '':31}  {message['From'] or ''}")
            print(f"        {message['Subject'] or '(no subject)'}")
            for attachment in message.iter_attachments():
                print(f"        attached: {attachment.get_filename() or attachment.get_content_type()}")
            if options.body:
                print()
                print(text_of(message))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except imaplib.IMAP4.error as error:
        sys.exit(f"IMAP: {error}")
    except OSError as error:
        sys.exit(str(error))
