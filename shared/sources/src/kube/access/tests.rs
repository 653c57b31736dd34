use super::*;

fn host_or_error(access: &Access) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(connection(access)) {
        Ok(Connection { host, .. }) => host,
        Err(error) => error.to_string(),
    }
}

const CONFIG: &str = "\
apiVersion: v1
kind: Config
clusters:
- {name: here, cluster: {server: 'https://10.0.0.1:6443', insecure-skip-tls-verify: true}}
- {name: there, cluster: {server: 'https://[fd00::1]', insecure-skip-tls-verify: true}}
users:
- {name: me, user: {token: secret}}
contexts:
- {name: one, context: {cluster: here, user: me}}
- {name: two, context: {cluster: there, user: me}}
current-context: one
";

#[test]
fn a_kubeconfig_selects_the_server_of_its_context() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config");
    std::fs::write(&file, CONFIG).unwrap();
    let with = |context: Option<&str>| {
        let access = Access::Kubeconfig { file: Some(file.clone()), context: context.map(Into::into) };
        host_or_error(&access).replace(&file.display().to_string(), "FILE")
    };
    assert_eq!(with(None), "10.0.0.1:6443");
    assert_eq!(with(Some("two")), "[fd00::1]");
    assert_eq!(with(Some("three")), "kubeconfig FILE: failed to load current context: three");
    std::fs::write(&file, "clusters: 7").unwrap();
    let wanted = "kubeconfig FILE: line 1: clusters: invalid type: integer `7`, expected a sequence";
    assert_eq!(with(None), wanted);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(with(None), "kubeconfig FILE: No such file or directory (os error 2)");
}

#[test]
fn an_endpoint_is_an_address_with_certificates_that_can_be_read() {
    let endpoint = |url: &str, authority: Option<&str>| {
        let tls = ClientTls { authority: authority.map(Into::into), identity: None };
        host_or_error(&Access::Endpoint { url: url.into(), tls })
    };
    assert_eq!(endpoint("http://127.0.0.1:8080", None), "127.0.0.1:8080");
    assert_eq!(endpoint("127.0.0.1:8080", None), "127.0.0.1:8080");
    assert_eq!(
        endpoint("ftp://127.0.0.1", None),
        "endpoint \"ftp://127.0.0.1\": neither http nor https; wanted an address such as https://10.0.0.1:6443"
    );
    assert_eq!(
        endpoint("http://a b", None),
        "endpoint \"http://a b\": invalid uri character; wanted an address such as https://10.0.0.1:6443"
    );
    assert_eq!(
        endpoint("https://127.0.0.1", Some("/nowhere/ca.crt")),
        "credentials for the API server: /nowhere/ca.crt: No such file or directory (os error 2)"
    );
}

#[test]
fn outside_of_a_pod_there_is_no_service_account() {
    let error = AccessError::InCluster("x".into()).to_string();
    assert_eq!(error, "no service account of a Pod: x; outside a Pod, configure a kubeconfig or an endpoint");
}

#[test]
fn a_remedy_names_the_file_that_has_to_be_fixed() {
    let kubeconfig = Access::Kubeconfig { file: Some("/etc/kube".into()), context: Some("test".into()) };
    let bare = |identity: Option<&str>| Access::Endpoint {
        url: String::new(),
        tls: ClientTls {
            identity: identity.map(|file| (file.into(), "key".into())),
            authority: identity.map(|_| "/etc/ca.crt".into()),
        },
    };
    let rows = [
        (
            kubeconfig,
            "a token or client certificate in /etc/kube for context test that is valid and not expired",
            "the certificate-authority in /etc/kube",
        ),
        (
            Access::InCluster,
            "a service account that exists, and its token under /var/run/secrets/kubernetes.io/serviceaccount",
            "ca.crt of the service account",
        ),
        (bare(Some("/etc/tls.crt")), "a valid client certificate in /etc/tls.crt", "/etc/ca.crt"),
        (
            bare(None),
            "a kubeconfig with credentials: an endpoint alone has none",
            "an authority of the system",
        ),
    ];
    for (access, credentials, authority) in rows {
        let remedy = Remedy::new(&access);
        assert_eq!(remedy.credentials, credentials);
        let certificate = format!("a certificate for this host, signed by {authority} and not expired");
        assert_eq!(remedy.server_certificate, certificate);
    }
}
