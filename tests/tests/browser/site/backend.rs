//! An endpoint with what browsers use beside pages: a WebSocket, server-sent events, and uploads.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// RFC 6455 §1.3.
const WEBSOCKET_KEY: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Serves in threads of its own until the process ends.
pub(crate) fn start(address: &str) {
    let listener = TcpListener::bind(address).expect("the address is free in this namespace");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // An error is how a connection ends.
            std::thread::spawn(move || serve(stream));
        }
    });
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let header = |name: &str| {
            lines
                .iter()
                .filter_map(|line| line.split_once(": "))
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        let path = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
        match &*path {
            "/socket" => {
                let (_, key) = header("sec-websocket-key").unwrap_or_default();
                let accept = STANDARD.encode(Sha1::digest(format!("{key}{WEBSOCKET_KEY}")));
                write!(
                    stream,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                )?;
                return echo_frames(reader, stream);
            }
            "/events" => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")?;
                return send_events(reader, stream);
            }
            _ => {
                let length = header("content-length").and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
                let read = io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
                let body = format!("{path} {read}\n");
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )?;
            }
        }
    }
}

/// Sends text frames of less than 126 bytes back without their mask (RFC 6455 §5.2), each after the number of frames so far.
fn echo_frames(mut reader: impl Read, mut stream: TcpStream) -> io::Result<()> {
    for count in 1.. {
        let mut head = [0; 6];
        reader.read_exact(&mut head)?;
        let mut text = vec![0; usize::from(head[1] & 0x7f)];
        reader.read_exact(&mut text)?;
        text.iter_mut().zip(head[2..].iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        if head[0] & 0x0f != 1 {
            return Ok(());
        }
        let answer = [format!("{count} ").into_bytes(), text].concat();
        stream.write_all(&[&[0x81, answer.len() as u8], &answer[..]].concat())?;
    }
    Ok(())
}

/// Sends an event a tenth of a second until the client is gone.
fn send_events(mut reader: impl Read, mut stream: TcpStream) -> io::Result<()> {
    std::thread::spawn(move || {
        // The pause is what the test is about: events must not be collected on the way.
        for count in 1..100 {
            write!(stream, "data: {count}\n\n")?;
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        io::Result::Ok(())
    });
    io::copy(&mut reader, &mut io::sink()).map(drop)
}
