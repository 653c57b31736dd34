//! WebSocket frames (RFC 6455 §5.2) as far as cases need them: unfragmented text below 126 bytes.

use std::io::{self, BufReader, Read, Write};

/// Accepts the upgrade, and sends each message back until the client closes.
pub(super) fn serve<S: Read + Write>(stream: &mut BufReader<S>) -> io::Result<()> {
    let response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: unchecked\r\n\r\n";
    stream.get_mut().write_all(response.as_bytes())?;
    loop {
        let message = receive(stream)?;
        let mut frame = vec![0x81, message.len() as u8];
        frame.extend_from_slice(message.as_bytes());
        stream.get_mut().write_all(&frame)?;
    }
}

/// The frame of a client, masked with zeros.
pub(super) fn client_frame(message: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | message.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(message.as_bytes());
    frame
}

/// Reads one message.
pub(super) fn receive(stream: &mut impl Read) -> io::Result<String> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    if head[0] != 0x81 || head[1] & 0x7f > 125 {
        return Err(io::Error::other(format!("not a short text frame: {head:x?}")));
    }
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        stream.read_exact(&mut mask)?;
    }
    let mut message = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut message)?;
    message.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= mask[at % 4]);
    String::from_utf8(message).map_err(io::Error::other)
}
