//! Pods that speak FastCGI: a minimal responder (specification §3.3, §6.2).

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};

use serde_json::{Value, json};

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

/// A request as the Pod read it.
struct FastCgiRequest {
    keeps_connection: bool,
    params: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl FastCgiRequest {
    /// As the `Echo` behaviour describes requests of HTTP, with all parameters.
    fn describe(&self) -> Value {
        let param = |name: &str| self.params.get(name).map_or("", String::as_str);
        let headers = self.params.iter().filter_map(|(name, value)| {
            Some((name.strip_prefix("HTTP_")?.to_ascii_lowercase().replace('_', "-"), value.as_str().into()))
        });
        let headers: serde_json::Map<String, Value> = headers.collect();
        json!({
            "method": param("REQUEST_METHOD"),
            "path": param("SCRIPT_NAME"),
            "raw_path": param("REQUEST_URI").split('?').next(),
            "query": param("QUERY_STRING"),
            "host": param("HTTP_HOST"),
            "headers": headers,
            "params": self.params,
            "body_length": self.body.len(),
        })
    }
}

/// Serves a connection: each request is answered with `hello`, or with its description.
pub(super) fn serve<S: Read + Write>(
    stream: &mut BufReader<S>,
    hello: Option<&str>,
    report: impl Fn(&mut Value),
) -> io::Result<()> {
    while let Some(request) = read_request(stream)? {
        let mut description = request.describe();
        report(&mut description);
        let (kind, body) = match hello {
            Some(text) => ("text/plain", text.to_owned()),
            None => ("application/json", description.to_string()),
        };
        let output = format!("Content-Type: {kind}\r\n\r\n{body}");
        let mut response = Vec::new();
        for part in output.as_bytes().chunks(usize::from(u16::MAX)) {
            record(STDOUT, part, &mut response);
        }
        record(STDOUT, &[], &mut response);
        record(END_REQUEST, &[0; 8], &mut response);
        stream.get_mut().write_all(&response)?;
        stream.get_mut().flush()?;
        if !request.keeps_connection {
            return Ok(());
        }
    }
    Ok(())
}

fn record(kind: u8, data: &[u8], out: &mut Vec<u8>) {
    let [high, low] = u16::try_from(data.len()).expect("a part of at most 64 KiB").to_be_bytes();
    out.extend_from_slice(&[1, kind, 0, 1, high, low, 0, 0]);
    out.extend_from_slice(data);
}

/// Reads a request; `None` if the connection ends before it.
fn read_request<S: Read>(stream: &mut BufReader<S>) -> io::Result<Option<FastCgiRequest>> {
    let (mut keeps_connection, mut params, mut body) = (false, Vec::new(), Vec::new());
    loop {
        let mut header = [0; 8];
        match stream.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && params.is_empty() => {
                return Ok(None);
            }
            read => read?,
        }
        let [_, kind, _, _, high, low, padding, _] = header;
        let mut data = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        stream.read_exact(&mut data)?;
        stream.read_exact(&mut vec![0; usize::from(padding)])?;
        match kind {
            BEGIN_REQUEST => keeps_connection = data.get(2).is_some_and(|flags| flags & 1 == 1),
            PARAMS => params.extend_from_slice(&data),
            STDIN if data.is_empty() => break,
            STDIN => body.extend_from_slice(&data),
            kind => return Err(io::Error::other(format!("a record of type {kind}"))),
        }
    }
    Ok(Some(FastCgiRequest { keeps_connection, params: pairs(&params)?, body }))
}

fn pairs(mut bytes: &[u8]) -> io::Result<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    while !bytes.is_empty() {
        let (name, value) = (length(&mut bytes)?, length(&mut bytes)?);
        let mut text = |length: usize| {
            let part = bytes.split_off(..length).ok_or(io::ErrorKind::UnexpectedEof)?;
            Ok::<_, io::Error>(String::from_utf8_lossy(part).into_owned())
        };
        pairs.insert(text(name)?, text(value)?);
    }
    Ok(pairs)
}

fn length(bytes: &mut &[u8]) -> io::Result<usize> {
    let first = *bytes.first().ok_or(io::ErrorKind::UnexpectedEof)?;
    if first < 0x80 {
        *bytes = &bytes[1..];
        return Ok(usize::from(first));
    }
    let four = bytes.split_off(..4).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(four.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)) & 0x7fff_ffff)
}
