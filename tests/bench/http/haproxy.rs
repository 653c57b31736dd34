//! HAProxy with one thread, without a log.

use std::process::Command;

use crate::place::{Place, find, free_port, write};
use crate::process::Process;
use crate::server::Server;

/// Starts `haproxy` in the foreground.
pub(crate) fn start(place: &Place, backend: u16) -> Result<Server, String> {
    let program = find("haproxy", "HAPROXY").ok_or("haproxy is not installed (Debian package haproxy)")?;
    let (folder, port) = (place.folder("haproxy")?, free_port()?);
    let file = folder.join("haproxy.cfg");
    write(
        &file,
        &format!(
            "global\n    nbthread 1\n    maxconn 8192\n\
             defaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n    \
             http-reuse always\n    option forwardfor\n\
             frontend http\n    bind 127.0.0.1:{port}\n    default_backend web\n\
             backend web\n    server one 127.0.0.1:{backend}\n"
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    Ok(Server::new(Process::start(&mut command, place.server, &folder)?, port))
}
