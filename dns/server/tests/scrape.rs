//! The metrics page behind a web configuration file, as a scraper sees it.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use support::TestService;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A folder with the files of an authority and of the page's certificate, and certificates for clients.
struct Files {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = Self { folder: tempfile::tempdir().unwrap(), authority };
        files.write("ca.pem", &files.authority.pem());
        files.certify("metrics.example");
        files
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Replaces a file atomically, so that it is never read half-written.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("new"), text).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// A new certificate for the page.
    fn certify(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        self.write("key.pem", &key.serialize_pem());
        self.write("cert.pem", &params.signed_by(&key, &self.authority).unwrap().pem());
    }

    /// A client certificate, signed by the authority or by itself.
    fn client(&self, name: &str, trusted: bool) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate =
            if trusted { params.signed_by(&key, &self.authority) } else { params.self_signed(&key) };
        (certificate.unwrap().der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    /// Writes the web configuration file and returns a Corefile that names it.
    fn corefile(&self, web: &str) -> String {
        self.write("web.yml", web);
        corefile(&format!("tls {}", self.path("web.yml")))
    }

    fn scraper(&self, name: &'static str) -> Scraper<'_> {
        Scraper {
            files: self,
            name,
            identity: None,
            versions: rustls::ALL_VERSIONS.to_vec(),
            authorization: "",
        }
    }
}

fn corefile(option: &str) -> String {
    format!(".:0 {{\nprometheus 127.0.0.1:0 {{\n{option}\n}}\nwhoami\n}}")
}

struct Scraper<'f> {
    files: &'f Files,
    name: &'static str,
    identity: Option<Identity>,
    versions: Vec<&'static SupportedProtocolVersion>,
    authorization: &'static str,
}

/// The TLS version and cipher suite of a scrape.
struct Scraped {
    version: Option<ProtocolVersion>,
    suite: &'static str,
}

impl Scraper<'_> {
    async fn scrape(&self, address: SocketAddr) -> io::Result<Scraped> {
        let mut roots = RootCertStore::empty();
        roots.add(self.files.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(net::tls::provider().clone())
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap()
            }
        };
        let name = ServerName::try_from(self.name).unwrap();
        let stream = TcpStream::connect(address).await?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        self.get(&mut stream).await?;
        let agreed = stream.get_ref().1;
        let suite = agreed.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        Ok(Scraped { version: agreed.protocol_version(), suite: suite.unwrap_or_default() })
    }

    async fn scrape_plaintext(&self, address: SocketAddr) -> io::Result<String> {
        self.get(&mut TcpStream::connect(address).await?).await
    }

    /// Returns the status line and the headers.
    async fn get(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<String> {
        let Self { name, authorization, .. } = self;
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        let (head, body) = response.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let is_page = body.contains("coredns_build_info{version=\"test\"");
        assert_eq!(is_page, head.starts_with("HTTP/1.1 200 OK"), "{response}");
        Ok(head.to_owned())
    }
}

async fn page_of(service: &TestService) -> SocketAddr {
    service.admin.listen("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

const TLS: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_required_and_verified_as_configured() {
    let files = Files::new();
    let service = TestService::start(&files.corefile(TLS)).await;
    let address = page_of(&service).await;
    assert!(files.scraper("metrics.example").scrape_plaintext(address).await.is_err(), "without TLS");
    assert!(files.scraper("other.example").scrape(address).await.is_err(), "the certificate is checked");
    let trusted = || Some(files.client("scraper.example", true));
    let other_name = || Some(files.client("other.example", true));
    let self_signed = || Some(files.client("scraper.example", false));
    // Columns: no certificate, a trusted one, a trusted one with another name, a self-signed one.
    for (wanted, allowed) in [
        ("", [true, true, true, true]),
        ("client_auth_type: NoClientCert", [true, true, true, true]),
        ("client_auth_type: RequestClientCert", [true, true, true, true]),
        ("client_auth_type: RequireAnyClientCert", [false, true, true, true]),
        ("client_auth_type: RequireClientCert", [false, true, true, true]),
        ("client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem", [true, true, true, false]),
        (
            "client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem",
            [false, true, true, false],
        ),
        (
            "client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: [scraper.example]",
            [false, true, false, false],
        ),
        (
            "client_auth_type: RequestClientCert\n  client_allowed_sans: [x, scraper.example]",
            [false, true, false, true],
        ),
    ] {
        // The file is read again for each connection.
        files.write("web.yml", &format!("{TLS}  {wanted}\n"));
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            for (identity, allowed) in [None, trusted(), other_name(), self_signed()].into_iter().zip(allowed)
            {
                let shown = identity.is_some();
                let scraper =
                    Scraper { identity, versions: vec![version], ..files.scraper("metrics.example") };
                let scraped = scraper.scrape(address).await;
                assert_eq!(scraped.is_ok(), allowed, "{wanted:?}, shown: {shown}, {version:?}");
            }
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_versions_and_cipher_suites_are_those_configured() {
    let files = Files::new();
    let service = TestService::start(&files.corefile(TLS)).await;
    let address = page_of(&service).await;
    let (v12, v13) = (Some(ProtocolVersion::TLSv1_2), Some(ProtocolVersion::TLSv1_3));
    for (options, wanted, suite) in [
        ("min_version: TLS10", v13, ""),
        ("max_version: TLS12", v12, ""),
        (
            "max_version: TLS12\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]",
            v12,
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]\n  curve_preferences: [CurveP521, CurveP384]", v13, ""),
    ] {
        files.write("web.yml", &format!("{TLS}  {options}\n"));
        let scraped = files.scraper("metrics.example").scrape(address).await.unwrap();
        assert_eq!(scraped.version, wanted, "{options}");
        assert!(suite.is_empty() || scraped.suite == suite, "{options}: {}", scraped.suite);
    }
    files.write("web.yml", &format!("{TLS}  min_version: TLS13\n"));
    let old = Scraper { versions: vec![&rustls::version::TLS12], ..files.scraper("metrics.example") };
    assert!(old.scrape(address).await.is_err(), "TLS 1.2 although the minimum is 1.3");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_headers_and_rate_limit_are_those_configured() {
    let files = Files::new();
    let hash = bcrypt::hash("secret", 4).unwrap();
    let web = format!(
        "basic_auth_users:\n  alice: {hash}\nhttp_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\nrate_limit:\n  interval: 1h\n  burst: 6\n"
    );
    let service = TestService::start(&files.corefile(&web)).await;
    let address = page_of(&service).await;
    // Without tls_server_config the page is served over plain HTTP.
    for (authorization, status) in [
        ("", "401 Unauthorized"),
        ("Authorization: Basic YWxpY2U6c2VjcmV0\r\n", "200 OK"),
        ("Authorization: basic YWxpY2U6c2VjcmV0\r\n", "200 OK"),
        ("Authorization: Basic YWxpY2U6d3Jvbmc=\r\n", "401 Unauthorized"),
        ("Authorization: Basic Ym9iOnNlY3JldA==\r\n", "401 Unauthorized"),
        ("Authorization: Bearer YWxpY2U6c2VjcmV0\r\n", "401 Unauthorized"),
        ("Authorization: Basic YWxpY2U6c2VjcmV0\r\n", "429 Too Many Requests"),
    ] {
        let scraper = Scraper { authorization, ..files.scraper("metrics.example") };
        let head = scraper.scrape_plaintext(address).await.unwrap().to_ascii_lowercase();
        assert!(head.contains(&status.to_ascii_lowercase()), "{authorization}: {head}");
        assert_eq!(head.contains("x-frame-options: deny"), !status.starts_with("429"), "{head}");
        assert_eq!(head.contains("www-authenticate: basic"), status.starts_with("401"), "{head}");
    }
    files.write("web.yml", "basic_auth_users:\n  alice: secret\n");
    let head = files.scraper("metrics.example").scrape_plaintext(address).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 500"), "the page is closed once the file is invalid: {head}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_from_the_next_connection_on() {
    let files = Files::new();
    let service = TestService::start(&files.corefile(TLS)).await;
    let address = page_of(&service).await;
    let (old, new) = (files.scraper("metrics.example"), files.scraper("renewed.example"));
    assert!(old.scrape(address).await.is_ok() && new.scrape(address).await.is_err());
    files.certify("renewed.example");
    assert!(old.scrape(address).await.is_err() && new.scrape(address).await.is_ok());
    std::fs::remove_file(files.path("key.pem")).unwrap();
    assert!(new.scrape(address).await.is_err());
    files.certify("metrics.example");
    assert!(old.scrape(address).await.is_ok());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_enables_and_disables_tls_at_the_same_address() {
    let files = Files::new();
    let scraper = files.scraper("metrics.example");
    let service = TestService::start(&corefile("")).await;
    let address = page_of(&service).await;
    assert!(scraper.scrape_plaintext(address).await.is_ok() && scraper.scrape(address).await.is_err());
    let mut kept = TcpStream::connect(address).await.unwrap();
    kept.write_all(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    kept.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 404");

    service.reload(&files.corefile(TLS)).await.unwrap();
    assert_eq!(page_of(&service).await, address);
    assert!(scraper.scrape(address).await.is_ok() && scraper.scrape_plaintext(address).await.is_err());
    assert!(kept.read_to_end(&mut Vec::new()).await.is_ok(), "a connection without TLS is closed");

    service.reload(&corefile(&format!("tls {}", files.path("none.yml")))).await.unwrap_err();
    assert!(scraper.scrape(address).await.is_ok(), "after a failed reload TLS is still enabled");
    service.reload(&corefile("")).await.unwrap();
    assert!(scraper.scrape_plaintext(address).await.is_ok() && scraper.scrape(address).await.is_err());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_web_configuration_file_is_reported_and_nothing_is_served() {
    let files = Files::new();
    files.write("other.pem", &KeyPair::generate().unwrap().serialize_pem());
    let file = |name: &str| Path::new(&files.path("")).join(name).display().to_string();
    let web = file("web.yml");
    for (text, wanted) in [
        ("tls_server_config: {cert_file: cert.pem}".to_owned(), "needs key or key_file".to_owned()),
        ("tls_server_config: {key_file: key.pem}".to_owned(), "needs cert or cert_file".to_owned()),
        (
            "tls_server_config: {cert_file: none.pem, key_file: key.pem}".to_owned(),
            format!("cert_file: {}: No such file", file("none.pem")),
        ),
        (
            "tls_server_config: {cert_file: web.yml, key_file: key.pem}".to_owned(),
            "no PEM certificate found".to_owned(),
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: other.pem}".to_owned(),
            "the certificate and its key:".to_owned(),
        ),
        (format!("{TLS}  client_ca_file: ca.pem\n"), "need a client_auth_type".to_owned()),
        (format!("{TLS}  client_allowed_sans: [a]\n"), "need a client_auth_type".to_owned()),
        (format!("{TLS}  client_auth_type: Always\n"), format!("{web}:4: ")),
        (
            format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: key.pem\n"),
            "client_ca: ".to_owned(),
        ),
        (format!("{TLS}  max_version: TLS11\n"), "leave no version".to_owned()),
        (format!("{TLS}  min_version: SSL3\n"), format!("{web}:4: ")),
        (format!("{TLS}  cipher_suites: [RC4]\n"), "unknown cipher: RC4".to_owned()),
        (format!("{TLS}  curve_preferences: [CurveP521]\n"), "should name X25519".to_owned()),
        ("tls_server:\n  cert: x\n".to_owned(), format!("{web}:1: ")),
        ("http_server_config: {headers: {Server: x}}".to_owned(), "\"Server\" cannot be set".to_owned()),
        (
            "http_server_config: {headers: {X-Frame-Options: allow}}".to_owned(),
            "should be deny or sameorigin, not \"allow\"".to_owned(),
        ),
        ("basic_auth_users: {alice: secret}".to_owned(), "\"alice\" is not a bcrypt hash".to_owned()),
        ("rate_limit: {interval: soon}".to_owned(), "invalid duration \"soon\"".to_owned()),
        (":".repeat(3), format!("{web}:1: ")),
    ] {
        let started = TestService::try_start(
            &files.corefile(&text),
            support::FakeCluster::listed(),
            &[[127, 0, 0, 1].into()],
        )
        .await;
        let error = started.err().unwrap_or_else(|| panic!("served: {text}")).to_string();
        assert!(error.starts_with(&format!("prometheus: tls: {web}")), "{text}: {error}");
        assert!(error.contains(&wanted), "{text}: {error}");
    }
    for text in ["", "# nothing\n", "tls_server_config:\nhttp_server_config:\n"] {
        TestService::start(&files.corefile(text)).await.stop().await;
    }
}
