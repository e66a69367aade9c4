//! The demo's mail program: just enough SMTP and IMAP to send one message and read it back, over real sockets.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use data_encoding::BASE64;

/// How long the demo waits for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

fn unexpected(line: &str) -> io::Error {
    io::Error::other(format!("the server answered: {}", line.trim_end()))
}

fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// A user name and its application password.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// Submits a message and returns the server's last words: it has accepted the message durably.
pub(super) fn submit(address: SocketAddr, login: &Login, to: &str, message: &[u8]) -> io::Result<String> {
    let mut smtp = connect(address)?;
    expect(&mut smtp, "220")?;
    let plain = BASE64.encode(format!("\0{}\0{}", login.user, login.password).as_bytes());
    for (command, code) in [
        ("EHLO demo".to_owned(), "250"),
        (format!("AUTH PLAIN {plain}"), "235"),
        (format!("MAIL FROM:<{}>", login.user), "250"),
        (format!("RCPT TO:<{to}>"), "250"),
        ("DATA".to_owned(), "354"),
    ] {
        write!(smtp.get_mut(), "{command}\r\n")?;
        expect(&mut smtp, code)?;
    }
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            smtp.get_mut().write_all(b".")?;
        }
        smtp.get_mut().write_all(line)?;
    }
    smtp.get_mut().write_all(b".\r\n")?;
    let accepted = expect(&mut smtp, "250")?;
    write!(smtp.get_mut(), "QUIT\r\n")?;
    Ok(accepted)
}

/// Reads a reply to its last line, which must begin with this code.
fn expect(smtp: &mut BufReader<TcpStream>, code: &str) -> io::Result<String> {
    loop {
        let mut line = String::new();
        smtp.read_line(&mut line)?;
        if !line.starts_with(code) {
            return Err(unexpected(&line));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line.trim_end().to_owned());
        }
    }
}

/// An IMAP session with a selected folder.
pub(super) struct Imap {
    stream: BufReader<TcpStream>,
    tag: u32,
}

impl Imap {
    /// Logs in and selects INBOX; returns the session and how many messages there are.
    pub(super) fn open(address: SocketAddr, login: &Login) -> io::Result<(Self, usize)> {
        let mut imap = Self { stream: connect(address)?, tag: 0 };
        let mut greeting = String::new();
        imap.stream.read_line(&mut greeting)?;
        imap.run(&format!("LOGIN \"{}\" \"{}\"", login.user, login.password))?;
        let lines = imap.run("SELECT INBOX")?;
        let exists = lines.iter().find_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok());
        Ok((imap, exists.unwrap_or(0)))
    }

    /// The newest message, byte for byte.
    pub(super) fn newest(&mut self) -> io::Result<Vec<u8>> {
        self.tag += 1;
        write!(self.stream.get_mut(), "a{} FETCH * (BODY.PEEK[])\r\n", self.tag)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let length = line.trim_end().strip_suffix('}').and_then(|line| line.rsplit_once('{')?.1.parse::<u64>().ok());
        let length = length.ok_or_else(|| unexpected(&line))?;
        let mut message = Vec::new();
        (&mut self.stream).take(length).read_to_end(&mut message)?;
        self.finish()?;
        Ok(message)
    }

    fn run(&mut self, command: &str) -> io::Result<Vec<String>> {
        self.tag += 1;
        write!(self.stream.get_mut(), "a{} {command}\r\n", self.tag)?;
        self.finish()
    }

    /// Reads to the tagged answer, which must be OK.
    fn finish(&mut self) -> io::Result<Vec<String>> {
        let tag = format!("a{} ", self.tag);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(unexpected("nothing"));
            }
            match line.strip_prefix(&tag) {
                Some(answer) if answer.starts_with("OK") => return Ok(lines),
                Some(answer) => return Err(unexpected(answer)),
                None => lines.push(line.trim_end().to_owned()),
            }
        }
    }
}
