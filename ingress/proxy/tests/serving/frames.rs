//! An HTTP/2 client that writes and reads frames as bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::TEST_TIMEOUT;

/// Types of frames (RFC 9113 §6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

pub const END_STREAM_AND_HEADERS: u8 = 0x5;
/// `SETTINGS_INITIAL_WINDOW_SIZE` of 2³¹-1.
pub const WIDE_WINDOWS: &[u8] = &[0, 4, 0x7f, 0xff, 0xff, 0xff];

/// An HTTP/2 client that sends arbitrary frames.
pub struct Frames(pub TcpStream);

impl Frames {
    pub fn connect(address: SocketAddr, settings: &[u8]) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        let mut client = Self(stream);
        client.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        client.send(SETTINGS, 0, 0, settings).unwrap();
        client
    }

    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        self.0.write_all(&Self::frame(kind, flags, stream, payload))
    }

    /// A GET of `/` on a stream (RFC 7541: three fields of the static table and a literal `:authority`).
    pub fn request(&mut self, stream: u32) -> std::io::Result<()> {
        let mut head = vec![0x82, 0x86, 0x84, 0x01, 12];
        head.extend(b"shop.example");
        self.send(HEADERS, END_STREAM_AND_HEADERS, stream, &head)
    }

    /// The next frame: its type, its stream and its payload.
    pub fn read(&mut self) -> std::io::Result<(u8, u32, Vec<u8>)> {
        self.read_frame().map(|(kind, _, stream, payload)| (kind, stream, payload))
    }

    /// The next frame: its type, its flags, its stream and its payload.
    pub fn read_frame(&mut self) -> std::io::Result<(u8, u8, u32, Vec<u8>)> {
        let mut header = [0; 9];
        self.0.read_exact(&mut header)?;
        let [a, b, c, kind, flags, stream @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload)?;
        Ok((kind, flags, u32::from_be_bytes(stream), payload))
    }

    /// Reads up to the data of a stream; true if there was a GOAWAY before.
    pub fn read_response(&mut self, stream: u32) -> std::io::Result<bool> {
        let mut has_goaway = false;
        loop {
            match self.read()? {
                (DATA, of, _) if of == stream => return Ok(has_goaway),
                (kind, ..) => has_goaway |= kind == GOAWAY,
            }
        }
    }

    /// Reads until the proxy closes the connection.
    pub fn is_closed(&mut self) -> bool {
        loop {
            match self.read() {
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }
}
