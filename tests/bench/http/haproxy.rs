//! HAProxy with one thread, without a log.

use std::process::Command;

use crate::http::stream::LoadTls;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{Testbed, find, free_port, write};

/// Name in the tables.
pub(crate) const NAME: &str = "HAProxy";

/// Starts `haproxy` in the foreground.
pub(crate) fn start(testbed: &Testbed, backend: u16, tls: Option<&LoadTls>) -> Result<Server, String> {
    let program = find("haproxy", "HAPROXY").ok_or("haproxy is not installed (Debian package haproxy)")?;
    let (folder, port) = (testbed.folder("haproxy")?, free_port()?);
    let file = folder.join("haproxy.cfg");
    let mut ssl = String::new();
    if let Some(LoadTls { certificate, .. }) = tls {
        let pem = folder.join("tls.pem");
        write(&pem, &format!("{}{}", certificate.certificate, certificate.key))?;
        ssl = format!(" ssl crt {} alpn h2,http/1.1", pem.display());
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
    Ok(Server::new(Process::start_server(testbed, &mut command, &folder)?, port))
}
