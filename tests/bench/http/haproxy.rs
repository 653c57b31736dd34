//! HAProxy with one thread, without a log.

use std::process::Command;

use crate::http::wire::Tls;
use crate::place::{Place, find, free_port, write};
use crate::process::Process;
use crate::server::Server;

/// Starts `haproxy` in the foreground.
pub(crate) fn start(place: &Place, backend: u16, tls: Option<&Tls>) -> Result<Server, String> {
    let program = find("haproxy", "HAPROXY").ok_or("haproxy is not installed (Debian package haproxy)")?;
    let (folder, port) = (place.folder("haproxy")?, free_port()?);
    let file = folder.join("haproxy.cfg");
    let mut ssl = String::new();
    if let Some(Tls { certified, .. }) = tls {
        let pem = folder.join("tls.pem");
        write(&pem, &format!("{}{}", certified.certificate, certified.key))?;
        ssl = format!(" ssl crt {}", pem.display());
    }
    write(
        &file,
        &format!(
            "global\n    nbthread 1\n    maxconn 8192\n\
             defaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n    \
             http-reuse always\n    option forwardfor\n\
             frontend http\n    bind 127.0.0.1:{port}{ssl}\n    default_backend web\n\
             backend web\n    server one 127.0.0.1:{backend}\n"
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    Ok(Server::new(Process::start(&mut command, place.server, &folder)?, port))
}
