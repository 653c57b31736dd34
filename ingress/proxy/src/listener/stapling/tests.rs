//! Certificates whose issuers and responders are servers of the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::AtomicUsize;

use net::ocsp::testing::{TestResponse, issuer_extension, respond, responder_extension};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;

use super::*;

/// A server that answers the bodies of requests; without an answer it closes the connection.
struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                counted.fetch_add(1, Relaxed);
                let (mut stream, mut length) = (BufReader::new(stream), 0);
                let mut lines = stream.by_ref().lines().map_while(Result::ok);
                for line in lines.by_ref().take_while(|line| !line.is_empty()) {
                    length =
                        line.strip_prefix("Content-Length: ").map_or(length, |text| text.parse().unwrap());
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                if let Some(body) = answer(&body) {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    stream.get_mut().write_all(&[head.as_bytes(), &body].concat()).unwrap();
                }
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// An authority with its key, and the key once more for a responder. `issuer`: the URL of its own issuer.
fn authority(issuer: Option<&str>) -> (CertifiedIssuer<'static, KeyPair>, KeyPair) {
    let (mut params, key) = (params("ca"), KeyPair::generate().unwrap());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.custom_extensions.extend(issuer.map(issuer_extension));
    let copy = KeyPair::from_pem(&key.serialize_pem()).unwrap();
    let authority = match issuer {
        None => CertifiedIssuer::self_signed(params, key),
        Some(_) => {
            let mut root = self::params("root");
            root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
            CertifiedIssuer::signed_by(params, key, &root)
        }
    };
    (authority.unwrap(), copy)
}

/// A certificate of the authority, with the authority in its chain.
fn certificate(
    authority: &CertifiedIssuer<'_, KeyPair>,
    responder: &str,
    completes: bool,
) -> CertificateStatus {
    let (mut params, key) = (params("leaf"), KeyPair::generate().unwrap());
    params.custom_extensions.push(responder_extension(responder));
    let leaf = params.signed_by(&key, authority).unwrap();
    let chain = vec![leaf.der().clone(), authority.der().clone()];
    let key = any_supported_type(&PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap();
    let key = Arc::new(CertifiedKey::new(chain, key));
    CertificateStatus::new("default/leaf".to_owned(), &key, completes, SystemTime::now())
}

fn requests(limit: Duration) -> Requests {
    Requests::new(Fetcher { allow_local: true }, limit)
}

fn stapled(known: &BTreeMap<usize, CertificateStatus>) -> Vec<usize> {
    known.iter().filter(|(_, status)| status.staple.is_some()).map(|(at, _)| *at).collect()
}

#[test]
fn a_pass_ends_in_time_and_the_next_continues_with_the_longest_due() {
    let (authority, key) = authority(None);
    let responder = Server::start(move |request| respond(request, &TestResponse::default(), &key));
    let broken = Server::start(|_| None);
    let mut known = BTreeMap::new();
    for (at, (responder, late)) in
        [(&broken, 5), (&responder, 4), (&broken, 3), (&responder, 9)].into_iter().enumerate()
    {
        let mut status = certificate(&authority, &responder.url, false);
        status.stapling.due -= Duration::from_secs(late);
        known.insert(at, status);
    }
    // Every request takes as long as the pass may.
    let mut requests = requests(Duration::ZERO);
    let mut passes = Vec::new();
    for _ in 0..4 {
        let is_changed = refresh_due(&mut known, true, &mut requests, || true);
        passes.push((is_changed, stapled(&known)));
    }
    assert_eq!(passes, [(true, vec![3]), (true, vec![3]), (true, vec![1, 3]), (true, vec![1, 3])]);
    assert!(!refresh_due(&mut known, true, &mut requests, || true), "nothing is due");
    assert_eq!((broken.requests(), responder.requests()), (1, 2), "the broken one is asked once for all");
    let problems: Vec<_> = known.values().flat_map(CertificateStatus::problems).collect();
    assert!(problems[0].ends_with("the response is not HTTP"), "{problems:?}");
    assert!(problems[1].ends_with("the responder does not answer"), "{problems:?}");

    assert!(!drop_expired(&mut known, SystemTime::now()));
    assert!(drop_expired(&mut known, SystemTime::now() + Duration::from_secs(100 * 366 * 86_400)));
    assert!(stapled(&known).is_empty());
}

#[test]
fn a_response_is_stapled_although_a_further_issuer_cannot_be_fetched() {
    let broken = Server::start(|_| None);
    let (authority, key) = authority(Some(&broken.url));
    let responder = Server::start(move |request| respond(request, &TestResponse::default(), &key));
    let mut status = certificate(&authority, &responder.url, true);
    let mut requests = requests(PASS_LIMIT);
    requests.begin_pass();
    assert!(status.refresh(true, &mut requests));
    assert!(status.staple.is_some());
    let problems: Vec<_> = status.problems().collect();
    let wanted = format!("default/leaf: the chain lacks an issuer: {}: ", broken.url);
    assert!(problems.len() == 1 && problems[0].starts_with(&wanted), "{problems:?}");
    // Only the issuer is tried again soon.
    assert!(status.due() <= SystemTime::now() + RETRY && status.stapling.due > SystemTime::now() + MAX_RETRY);
    status.completion.due = SystemTime::now();
    status.refresh(true, &mut requests);
    assert_eq!((status.completion.failures, responder.requests()), (2, 1));
}
