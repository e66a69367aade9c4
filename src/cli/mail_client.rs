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

/// Submits a message and returns the server's last reply, which says that the message is stored durably.
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

/// Reads the lines of a reply; the last one must begin with this code.
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

    /// Reads up to the tagged answer, which must be OK.
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;

    fn login() -> Login {
        Login { user: "alice".to_owned(), password: "open sesame".to_owned() }
    }

    /// A server for one connection. It sends each text of the script after so many lines; returns the lines that it
    /// received.
    fn serve(script: &'static [(usize, &'static str)]) -> (SocketAddr, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let task = thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut heard = Vec::new();
            for (lines, answer) in script {
                for _ in 0..*lines {
                    let mut line = String::new();
                    stream.read_line(&mut line).unwrap();
                    heard.push(line.strip_suffix("\r\n").unwrap().to_owned());
                }
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            let mut rest = String::new();
            stream.read_to_string(&mut rest).unwrap();
            heard.extend(rest.split_terminator("\r\n").map(str::to_owned));
            heard
        });
        (address, task)
    }

    #[test]
    fn a_message_is_submitted_with_its_dots_doubled_and_every_answer_is_read_to_its_end() {
        let (address, server) = serve(&[
            (0, "220-hello\r\n220 there\r\n"),
            (1, "250-demo\r\n250-SIZE\r\n250 AUTH PLAIN\r\n"),
            (1, "235 ok\r\n"),
            (1, "250 ok\r\n"),
            (1, "250 ok\r\n"),
            (1, "354 go on\r\n"),
            (5, "250 2.0.0 it is safe\r\n"),
        ]);
        let accepted = submit(address, &login(), "bob@x", b"Subject: x\r\n\r\n.dot\r\nno dot.\r\n").unwrap();
        assert_eq!(accepted, "250 2.0.0 it is safe");
        let plain = BASE64.encode(b"\0alice\0open sesame");
        let message = ["Subject: x", "", "..dot", "no dot.", "."];
        let commands = ["EHLO demo", &format!("AUTH PLAIN {plain}"), "MAIL FROM:<alice>", "RCPT TO:<bob@x>", "DATA"];
        assert_eq!(server.join().unwrap(), [&commands[..], &message, &["QUIT"]].concat());
    }

    #[test]
    fn what_is_refused_is_told_with_the_words_of_the_server() {
        let (address, _server) = serve(&[(0, "220 hello\r\n"), (1, "502 no such command\r\n")]);
        let refused = submit(address, &login(), "bob@x", b"x\r\n").unwrap_err();
        assert_eq!(refused.to_string(), "the server answered: 502 no such command");
        let (address, _server) = serve(&[(0, "* OK hello\r\n"), (1, "a1 NO wrong password\r\n")]);
        let refused = Imap::open(address, &login()).err().unwrap();
        assert_eq!(refused.to_string(), "the server answered: NO wrong password");
        let (address, server) = serve(&[(0, "* OK hello\r\n"), (1, "a1 OK\r\n"), (1, "")]);
        let client = thread::spawn(move || Imap::open(address, &login()).err().map(|error| error.to_string()));
        drop(server);
        assert!(client.join().unwrap().is_some(), "a server that says nothing more");
    }

    #[test]
    fn the_newest_message_is_read_byte_for_byte_and_no_two_commands_have_the_same_tag() {
        let (address, server) = serve(&[
            (0, "* OK hello\r\n"),
            (1, "a1 OK logged in\r\n"),
            (1, "* FLAGS ()\r\n* 7 EXISTS\r\na2 OK selected\r\n"),
            (1, "* 7 FETCH (BODY[] {9}\r\na3 OK\r\n\r\n)\r\na3 OK done\r\n"),
        ]);
        let (mut imap, exists) = Imap::open(address, &login()).unwrap();
        assert_eq!(exists, 7);
        assert_eq!(imap.newest().unwrap(), b"a3 OK\r\n\r\n");
        drop(imap);
        assert_eq!(
            server.join().unwrap(),
            ["a1 LOGIN \"alice\" \"open sesame\"", "a2 SELECT INBOX", "a3 FETCH * (BODY.PEEK[])"]
        );
    }
}
