//! The stop: what is open finishes, nothing new begins.

use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use net::Drained;

use crate::support::{Script, World};

#[test]
fn requests_in_flight_finish_and_idle_connections_close() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let script = Script::new(move |far| {
        far.request();
        wait.lock().unwrap().recv().unwrap();
        let _ = far.send("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    });
    let world = World::serving(&[script.address]);
    let healthy = world.proxy.as_ref().unwrap().health();
    assert!(healthy());
    let mut idle = world.client();
    idle.send("GET /healthz HTTP/1.1\nHost: x\n\n");
    assert_eq!(idle.response().status, 200);
    let mut busy = world.client();
    busy.send("GET / HTTP/1.1\nHost: shop.example\n\n");
    script.seen();
    let address = world.http;
    let stopping = std::thread::spawn(move || world.stop(Duration::ZERO));
    assert!(idle.is_closed());
    assert!(!healthy());
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    go.send(()).unwrap();
    let response = busy.response();
    assert_eq!((response.status, response.body.as_str()), (200, "ok"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(stopping.join().unwrap(), Drained::Finished);
}

#[test]
fn during_the_grace_period_requests_are_still_taken() {
    let script = Script::always("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    let world = World::serving(&[script.address]);
    let (address, healthy) = (world.http, world.proxy.as_ref().unwrap().health());
    let stopping = std::thread::spawn(move || world.stop(Duration::from_millis(500)));
    while healthy() {
        std::thread::yield_now();
    }
    let mut client = crate::support::Client::connect(address);
    client.send("GET / HTTP/1.1\nHost: shop.example\n\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(stopping.join().unwrap(), Drained::Finished);
}

#[test]
fn an_address_in_use_is_named_and_nothing_is_left_running() {
    let world = World::new();
    let views = world.views();
    let options = ingress_proxy::ProxyOptions {
        http: vec!["127.0.0.1:0".parse().unwrap()],
        https: vec![world.http],
        ..crate::support::options()
    };
    let telling = ingress_proxy::Telling { registry: telemetry::metrics::Registry::new(), access: None };
    let error = ingress_proxy::Proxy::start(options, views, &telling).err().unwrap();
    assert_eq!(error.to_string(), format!("cannot listen on {}: the address is in use", world.http));
}
