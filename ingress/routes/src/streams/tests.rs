//! The services made from ConfigMaps, Services and EndpointSlices.

use cluster::testing::{check_projection, histories};
use cluster::{Cache, ConfigMap, Current, Event, Kind, Object};
use proptest::prelude::{ProptestConfig, proptest};

use super::*;
use crate::options::RouteOptions;
use crate::testing::service;

fn options() -> RouteOptions {
    let (tcp_services, udp_services) = (Some(Key::new("shop", "web")), Some(Key::new("default", "db")));
    RouteOptions { tcp_services, udp_services, ..RouteOptions::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn advancing_equals_building(history in histories()) {
        check_projection(|| StreamIndex::new(options()), history.clone());
        let with_config_map = RouteOptions { config_map: Some(Key::new("default", "web")), ..options() };
        check_projection(|| StreamIndex::new(with_config_map.clone()), history.clone());
        check_projection(|| StreamIndex::new(RouteOptions::default()), history);
    }
}

/// A cluster whose TCP services are in the ConfigMap `shop/web` and whose UDP services are in `default/db`.
struct StreamCluster {
    cache: Cache,
    streams: Current<Streams>,
}

impl StreamCluster {
    /// With Services as for [`service`].
    fn new(services: &str) -> Self {
        Self::with(options(), services)
    }

    fn with(options: RouteOptions, services: &str) -> Self {
        let mut cache = Cache::default();
        let streams = cache.project(StreamIndex::new(options));
        let mut world = Self { cache, streams };
        for line in services.lines() {
            let (service, slice) = service(line);
            world.apply([Object::Service(Arc::new(service)), Object::EndpointSlice(Arc::new(slice))]);
        }
        world.cache.apply(Kind::ALL.into_iter().map(Event::Synced), 1);
        world
    }

    fn apply(&mut self, objects: impl IntoIterator<Item = Object>) {
        self.cache.apply(objects.into_iter().map(Event::Apply), 1);
    }

    fn config_map(&mut self, key: Key, data: &[(&str, &str)]) {
        let data = data.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
        self.apply([Object::ConfigMap(Arc::new(ConfigMap { key, data }))]);
    }

    fn tcp(mut self, data: &[(&str, &str)]) -> Self {
        self.config_map(Key::new("shop", "web"), data);
        self.config_map(Key::new("default", "db"), &[]);
        self
    }

    /// Each open port with its endpoints.
    fn open(&self) -> Vec<String> {
        let view = self.streams.load();
        let open = view.iter().filter(|service| service.is_open());
        open.map(|service| {
            format!("{} {} {:?}", service.protocol.label(), service.port, service.pool.members())
        })
        .collect()
    }

    fn problems(&self) -> Vec<String> {
        self.streams.load().problems().map(ToString::to_string).collect()
    }
}

#[test]
fn an_entry_opens_a_port_of_its_protocol() {
    let mut world = StreamCluster::new("web 80:http 10.0.0.1\ndns 53:dns/udp 10.0.0.2")
        .tcp(&[("9000", "default/web:http")]);
    world.config_map(Key::new("default", "db"), &[("53", "default/dns:53"), ("9000", "default/web:80")]);
    assert_eq!(world.open(), ["tcp 9000 Endpoints([10.0.0.1:8080])", "udp 53 Endpoints([10.0.0.2:8080])"]);
    assert_eq!(
        world.problems(),
        [
            "ConfigMap default/db: 9000: Service default/web has no UDP port 80, nor any other; the port is closed"
        ]
    );
    let streams = world.streams.load();
    assert_eq!(streams.get(Protocol::Tcp, 9000).unwrap().upstream_name(), "tcp-default-web-http");
    assert!(streams.get(Protocol::Udp, 9000).is_some_and(|service| !service.is_open()));
    assert!(streams.get(Protocol::Tcp, 53).is_none());
}

#[test]
fn an_invalid_entry_is_reported_by_name_and_the_others_are_served() {
    for (name, value, problem) in [
        ("http", "default/web:80", "\"http\" should be a port number from 1 to 65535; it is left out"),
        ("0", "default/web:80", "\"0\" should be a port number from 1 to 65535; it is left out"),
        ("65536", "default/web:80", "\"65536\" should be a port number from 1 to 65535; it is left out"),
        ("80", "default/web:80", "80 is the port of --http-port of the proxy itself; it is left out"),
        ("443", "default/web:80", "443 is the port of --https-port of the proxy itself; it is left out"),
        (
            "10254",
            "default/web:80",
            "10254 is the port of --healthz-port of the proxy itself; it is left out",
        ),
        ("07000", "default/web:80", "port 7000 has another entry; it is left out"),
        ("1", "web:80", "\"web:80\" should be namespace/service:port[:PROXY][:PROXY]; it is left out"),
        ("1", "default/other:80", "Service default/other does not exist; the port is closed"),
        ("1", "default/web:81", "Service default/web has no TCP port 81; it has 80 http; the port is closed"),
        ("1", "default/idle:80", "Service default/idle has no ready endpoint; the port is closed"),
        (
            "1",
            "default/local:80",
            "Service default/local has an externalName that is a loopback address; the port is closed",
        ),
    ] {
        let services = "web 80:http 10.0.0.1\nidle 80 !10.0.0.3\nlocal external=localhost";
        let world = StreamCluster::new(services).tcp(&[("7000", "default/web:80"), (name, value)]);
        assert_eq!(world.open(), ["tcp 7000 Endpoints([10.0.0.1:8080])"], "{name}: {value}");
        assert_eq!(world.problems(), [format!("ConfigMap shop/web: {name}: {problem}")], "{name}: {value}");
    }
}

#[test]
fn an_ignored_word_is_reported_and_the_port_is_open() {
    let world = StreamCluster::new("web 80 10.0.0.1").tcp(&[("9000", "default/web:80:PROXI")]);
    assert_eq!(world.open().len(), 1);
    assert_eq!(world.problems(), ["ConfigMap shop/web: 9000: \"PROXI\" should be PROXY; it is ignored"]);
}

#[test]
fn an_external_name_is_an_endpoint_unless_it_is_disabled() {
    let entries = [("5432", "default/db:5432")];
    let world = StreamCluster::new("db external=db.example.org").tcp(&entries);
    assert_eq!(world.open(), ["tcp 5432 External { host: \"db.example.org\", port: 5432 }"]);
    let options = RouteOptions { disable_svc_external_name: true, ..options() };
    let world = StreamCluster::with(options, "db external=db.example.org").tcp(&entries);
    assert_eq!(world.open(), [""; 0]);
    assert!(world.problems()[0].contains("is of type ExternalName, which is disabled"));
}

#[test]
fn a_config_map_that_does_not_exist_opens_no_port() {
    let mut world = StreamCluster::new("");
    world.config_map(Key::new("shop", "web"), &[]);
    assert_eq!(
        world.problems(),
        ["ConfigMap default/db: does not exist; --udp-services-configmap opens no port"]
    );
}

#[test]
fn a_change_of_one_service_keeps_the_others() {
    let entries = [("1", "default/web:80"), ("2", "default/other:80")];
    let mut world = StreamCluster::new("web 80 10.0.0.1\nother 80 10.0.0.2").tcp(&entries);
    let before = world.streams.load_full();
    let (_, slice) = service("web 80 10.0.0.1 10.0.0.9");
    world.apply([Object::EndpointSlice(Arc::new(slice))]);
    let after = world.streams.load_full();
    let of = |view: &Streams, port| view.get(Protocol::Tcp, port).unwrap().clone();
    assert!(!Arc::ptr_eq(&of(&before, 1), &of(&after, 1)));
    assert!(Arc::ptr_eq(&of(&before, 2), &of(&after, 2)));
    let (_, slice) = service("unrelated 80 10.0.0.8");
    world.apply([Object::EndpointSlice(Arc::new(slice))]);
    assert!(Arc::ptr_eq(&after.services, &world.streams.load().services));
}

#[test]
fn the_number_of_ports_is_bounded() {
    let names: Vec<String> = (1..=1002).map(|port| (20_000 + port).to_string()).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), "default/web:80")).collect();
    let world = StreamCluster::new("web 80 10.0.0.1").tcp(&entries);
    assert_eq!(world.open().len(), 1000);
    assert_eq!(
        world.problems(),
        [
            "ConfigMap shop/web: 21001: 2 entries are more than the 1000 ports that a ConfigMap may open; it is left out"
        ]
    );
}

#[test]
fn a_service_outside_of_the_watched_namespace_is_reported_as_such() {
    let options = RouteOptions { watch_namespace: Some("shop".into()), ..options() };
    let world = StreamCluster::with(options, "").tcp(&[("1", "default/web:80")]);
    assert_eq!(
        world.problems(),
        [
            "ConfigMap shop/web: 1: Service default/web is not in the namespace shop of --watch-namespace; the port is closed"
        ]
    );
}

/// An Ingress with the annotation `stream-snippet`.
fn with_snippet(name: &str, created: i64, snippet: &str) -> Object {
    let annotation = |name: &str, value: &str| (name.into(), value.to_owned());
    Object::Ingress(Arc::new(cluster::Ingress {
        key: Key::new("shop", name),
        created,
        annotations: vec![
            annotation("kubernetes.io/ingress.class", "nginx"),
            annotation("nginx.ingress.kubernetes.io/stream-snippet", snippet),
        ],
        class: None,
        default_backend: None,
        rules: Vec::new(),
        tls: Vec::new(),
    }))
}

#[test]
fn all_snippets_together_open_a_limited_number_of_ports() {
    let options = RouteOptions { config_map: Some(Key::new("ingress", "controller")), ..options() };
    let mut world = StreamCluster::with(options, "web 80 10.0.0.1");
    let servers = |first: u16| -> String {
        let server = |port| format!("server {{ listen {port}; proxy_pass 192.0.2.1:1; }}");
        (first..first + 300).map(server).collect()
    };
    let names = ["a", "b", "c", "d"];
    let snippets = names.iter().zip(0_u8..);
    world.apply(
        snippets.map(|(name, at)| {
            with_snippet(name, i64::from(at), servers(20_000 + 300 * u16::from(at)).leak())
        }),
    );
    let allowed = [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];
    world.config_map(Key::new("ingress", "controller"), &allowed);
    assert_eq!(world.open().len(), 1000);
    let left_out = world.problems();
    let of_limit = |what: &&String| what.contains("1000 ports of stream-snippet are open already");
    assert_eq!(left_out.iter().filter(of_limit).count(), 200, "{left_out:?}");
}

/// The annotation stream-snippet.
#[test]
fn ingresses_open_ports_if_the_configmap_allows_snippets() {
    let options = RouteOptions { config_map: Some(Key::new("ingress", "controller")), ..options() };
    let mut world = StreamCluster::with(options, "web 80 10.0.0.1").tcp(&[("9000", "default/web:80")]);
    world.apply([
        with_snippet("new", 2, "server { listen 9001; proxy_pass 192.0.2.2:1; }"),
        with_snippet(
            "old",
            1,
            "server { listen 9001; proxy_pass 192.0.2.1:1; } server { listen 9000; proxy_pass 192.0.2.1:1; }",
        ),
    ]);
    let entry = "tcp 9000 Endpoints([10.0.0.1:8080])";
    let allow = ("allow-snippet-annotations", "true");
    for data in [&[][..], &[allow], &[("annotations-risk-level", "Critical")]] {
        world.config_map(Key::new("ingress", "controller"), data);
        assert_eq!((world.open(), world.problems()), (vec![entry.to_owned()], vec![]), "{data:?}");
    }
    let allowed = [allow, ("annotations-risk-level", "Critical")];
    world.config_map(Key::new("ingress", "controller"), &allowed);
    assert_eq!(world.open(), [entry, "tcp 9001 Endpoints([192.0.2.1:1])"], "the older one has the port");
    let about = "nginx.ingress.kubernetes.io/stream-snippet: line 1, column";
    assert_eq!(
        world.problems(),
        [
            format!("Ingress shop/old: {about} 49: port 9000 has another entry; it is left out"),
            format!("Ingress shop/new: {about} 1: port 9001 has another entry; it is left out"),
        ]
    );
    // The key of the ConfigMap comes first.
    let key = ("stream-snippet", "server { listen 9001; proxy_pass 192.0.2.3:1; }");
    world.config_map(Key::new("ingress", "controller"), &[allowed[0], allowed[1], key]);
    assert_eq!(world.open()[1], "tcp 9001 Endpoints([192.0.2.3:1])");
    let blocked = ("annotation-value-word-blocklist", "proxy_pass");
    world.config_map(Key::new("ingress", "controller"), &[allowed[0], allowed[1], blocked]);
    assert_eq!(world.open(), [entry]);
    world.config_map(Key::new("ingress", "controller"), &allowed);
    world.apply([with_snippet("old", 1, " ")]);
    assert_eq!(world.open()[1], "tcp 9001 Endpoints([192.0.2.2:1])");
    let other = with_snippet("new", 2, "server { listen 9001; proxy_pass 192.0.2.2:1; }");
    let Object::Ingress(other) = other else { unreachable!() };
    let other = cluster::Ingress { class: Some("other".into()), ..cluster::Ingress::clone(&other) };
    world.apply([Object::Ingress(Arc::new(other))]);
    assert_eq!(world.open(), [entry], "it is another controller's");
}

#[test]
fn servers_of_the_snippet_open_ports_beside_the_entries() {
    let options = RouteOptions { config_map: Some(Key::new("ingress", "controller")), ..options() };
    let mut world = StreamCluster::with(options, "web 80 10.0.0.1").tcp(&[("9000", "default/web:80")]);
    let snippet = "server { listen 9000; proxy_pass a.example:1; }\n\
                   server { listen 9001; proxy_pass a.example:1; deny 10.0.0.0/8; }\n\
                   server { listen 9001 udp; proxy_pass 192.0.2.7:53; }\n\
                   server { listen 9002; proxy_pass 127.0.0.1:1; }\n\
                   server { listen 9003; proxy_pass a.example:1; proxy_ssl on; }";
    world.config_map(Key::new("ingress", "controller"), &[("stream-snippet", snippet)]);
    assert_eq!(
        world.open(),
        [
            "tcp 9000 Endpoints([10.0.0.1:8080])",
            "tcp 9001 External { host: \"a.example\", port: 1 }",
            "udp 9001 Endpoints([192.0.2.7:53])"
        ]
    );
    let about = "ConfigMap ingress/controller: stream-snippet: line";
    assert_eq!(
        world.problems(),
        [
            format!(
                "{about} 5, column 47: proxy_ssl is not honoured in a server of stream-snippet, so it is not opened; it is left out"
            ),
            format!("{about} 1, column 1: port 9000 has another entry; it is left out"),
            format!("{about} 4, column 1: proxy_pass: 127.0.0.1 is a loopback address; it is left out"),
        ]
    );
    let admits = |ip: &str| {
        let service = world.streams.load().get(Protocol::Tcp, 9001).unwrap().clone();
        service.rules.admit(ip.parse().unwrap())
    };
    assert_eq!(["10.0.0.1", "192.0.2.1"].map(admits), [false, true]);
    world.config_map(Key::new("ingress", "controller"), &[]);
    assert_eq!(world.open(), ["tcp 9000 Endpoints([10.0.0.1:8080])"]);
}
