use super::*;

fn said(access: &Access) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(client(access)) {
        Ok((_, host)) => host,
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
fn a_kubeconfig_leads_to_the_server_of_its_context() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config");
    std::fs::write(&file, CONFIG).unwrap();
    let with = |context: Option<&str>| {
        let access = Access::Kubeconfig { file: Some(file.clone()), context: context.map(Into::into) };
        said(&access).replace(&file.display().to_string(), "FILE")
    };
    assert_eq!(with(None), "10.0.0.1:6443");
    assert_eq!(with(Some("two")), "[fd00::1]");
    assert_eq!(with(Some("three")), "kubeconfig FILE: failed to load current context: three");
    std::fs::write(&file, "clusters: 7").unwrap();
    assert!(with(None).starts_with("kubeconfig FILE: failed to parse kubeconfig YAML: "), "{}", with(None));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(with(None), "kubeconfig FILE: No such file or directory (os error 2)");
}

#[test]
fn an_endpoint_is_an_address_with_certificates_that_can_be_read() {
    let endpoint = |url: &str, authority: Option<&str>| {
        let tls = ClientTls { authority: authority.map(Into::into), identity: None };
        said(&Access::Endpoint { url: url.into(), tls })
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
    assert_eq!(error, "no service account, as a Pod has one: x; elsewhere name a kubeconfig or an endpoint");
}
