//! A client of Google's gRPC library for Go, through HTTP/2 to a server of the same library.

use std::process::{Command, Stdio};

use tests::process::Process;
use tests::programs;
use tests::stage::{SOON, Stage};
use tests::wait;

use crate::ingress_traffic::prepare;
use crate::manifests::{annotated, ingress, workload};

pub(crate) fn calls_of_every_kind_pass_with_metadata_deadlines_and_trailers(stage: &mut Stage) {
    prepare(stage, "grpc");
    let program = programs::neighbours().expect("built before the first case");
    let mut server = Command::new(&program);
    server.args(["server", "10.244.1.181:8080"]);
    let server = Process::start("grpc-server", server, stage.folder());
    let api = &stage.plane.api;
    api.apply(&workload("grpc", "echo", &["10.244.1.181"]));
    let echo = ingress("grpc", "echo", "grpc.test", "/", "echo");
    let annotations = "nginx.ingress.kubernetes.io/backend-protocol: GRPC, \
                       nginx.ingress.kubernetes.io/proxy-body-size: '0'";
    api.apply(&annotated(&echo, annotations));
    let _portolan = stage.ingress("portolan", &[]);
    let call = || {
        let output = Command::new(&program)
            .args(["client", "127.0.0.1:443", "grpc.test"])
            .stdin(Stdio::null())
            .output()
            .expect("the client runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let wanted = [
        "unary: OK \"hello ann\" header [h] trailer [t] [00ff]",
        "fail: FailedPrecondition \"100 % über\" trailer [t]",
        "none: Unimplemented",
        "deadline: DeadlineExceeded",
        "count: 10000 messages, trailer [t]",
        "collect: 1000 messages, 5000000 bytes",
        "chat: 100 turns",
    ];
    wait::until("the calls", SOON, || match call() {
        found if found.lines().eq(wanted) => Ok(()),
        found => Err(found),
    });
    // The server learns the deadline, and that the client has given up.
    wait::until("the end of the call at the server", SOON, || {
        let log = server.log();
        let ended = log.contains("deadline true within 2 s true") && log.contains("cancelled");
        if ended { Ok(()) } else { Err(log) }
    });
}
