//! A small mail program: SMTP and IMAP over real sockets, as plainly as a test wants them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use data_encoding::BASE64;

use super::node::Node;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A user name and an application password.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Login {
    /// A new application password of this node.
    pub(crate) fn new(node: &Node, name: &str) -> Self {
        let made = node.json(&["mail", "password", "new", name]);
        let text = |key: &str| made[key].as_str().expect(key).to_owned();
        Self { user: text("user"), password: text("password") }
    }
}

fn connect(port: u16) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// A logged-in submission session.
pub(crate) struct Smtp {
    stream: BufReader<TcpStream>,
    user: String,
}

impl Smtp {
    pub(crate) fn open(port: u16, login: &Login) -> io::Result<Self> {
        let mut smtp = Self { stream: connect(port)?, user: login.user.clone() };
        smtp.reply("220")?;
        smtp.command("EHLO test", "250")?;
        let plain = BASE64.encode(format!("\0{}\0{}", login.user, login.password).as_bytes());
        smtp.command(&format!("AUTH PLAIN {plain}"), "235")?;
        Ok(smtp)
    }

    /// Submits a message; returns the final reply, which says 250.
    pub(crate) fn submit(&mut self, to: &str, message: &[u8]) -> io::Result<String> {
        self.submit_to(&[to], message)
    }

    /// The same for several recipients, of whom the message need not tell.
    pub(crate) fn submit_to(&mut self, recipients: &[&str], message: &[u8]) -> io::Result<String> {
        self.command(&format!("MAIL FROM:<{}>", self.user), "250")?;
        for to in recipients {
            self.command(&format!("RCPT TO:<{to}>"), "250")?;
        }
        self.command("DATA", "354")?;
        let mut data = Vec::with_capacity(message.len() + 64);
        for line in message.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b".") {
                data.push(b'.');
            }
            data.extend_from_slice(line);
        }
        data.extend_from_slice(b".\r\n");
        self.stream.get_mut().write_all(&data)?;
        self.reply("250")
    }

    /// Sends a line and wants this code back.
    pub(crate) fn command(&mut self, line: &str, code: &str) -> io::Result<String> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.reply(code)
    }

    fn reply(&mut self, code: &str) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !line.starts_with(code) {
                return Err(io::Error::other(line));
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }
}

/// An IMAP session; answers are kept as raw bytes.
pub(crate) struct Imap {
    stream: BufReader<TcpStream>,
    tag: u32,
}

impl Imap {
    pub(crate) fn open(port: u16, login: &Login) -> io::Result<Self> {
        let mut imap = Self { stream: connect(port)?, tag: 0 };
        let mut greeting = String::new();
        imap.stream.read_line(&mut greeting)?;
        imap.run(&format!("LOGIN \"{}\" \"{}\"", login.user, login.password))?;
        Ok(imap)
    }

    /// Runs a command that must end with OK; returns everything untagged, literals included.
    pub(crate) fn run(&mut self, command: &str) -> io::Result<Vec<u8>> {
        self.ask(command).map(|(untagged, _)| untagged)
    }

    /// The same, with the line that says OK.
    pub(crate) fn ask(&mut self, command: &str) -> io::Result<(Vec<u8>, String)> {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        self.stream.get_mut().write_all(format!("{tag}{command}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.starts_with(tag.as_bytes()) {
                let text = String::from_utf8_lossy(&line).into_owned();
                return if text[tag.len()..].starts_with("OK") {
                    Ok((answer, text))
                } else {
                    Err(io::Error::other(text))
                };
            }
            let literal = literal_length(&line);
            answer.extend_from_slice(&line);
            if let Some(length) = literal {
                (&mut self.stream).take(length).read_to_end(&mut answer)?;
            }
        }
    }

    /// Appends a message to a folder; returns the line that says OK.
    pub(crate) fn append(&mut self, folder: &str, message: &[u8]) -> io::Result<String> {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        self.stream.get_mut().write_all(format!("{tag}APPEND {folder} {{{}+}}\r\n", message.len()).as_bytes())?;
        self.stream.get_mut().write_all(message)?;
        self.stream.get_mut().write_all(b"\r\n")?;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(rest) = line.strip_prefix(&tag) {
                return if rest.starts_with("OK") { Ok(line) } else { Err(io::Error::other(line)) };
            }
        }
    }

    /// The bytes of a message of the selected folder.
    pub(crate) fn body(&mut self, uid: u32) -> io::Result<Vec<u8>> {
        let answer = self.run(&format!("UID FETCH {uid} (BODY.PEEK[])"))?;
        let line_end = answer.iter().position(|byte| *byte == b'\n').ok_or(io::ErrorKind::InvalidData)? + 1;
        let length = literal_length(&answer[..line_end]).ok_or(io::ErrorKind::InvalidData)?;
        Ok(answer[line_end..line_end + usize::try_from(length).unwrap()].to_vec())
    }
}

fn literal_length(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?.trim_end().strip_suffix('}')?;
    text.rsplit_once('{')?.1.parse().ok()
}

/// A plain message.
pub(crate) fn message(from: &str, to: &str, subject: &str, body: &str) -> Vec<u8> {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <{subject}@{}>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n",
        from.rsplit('@').next().unwrap()
    )
    .into_bytes()
}
