//! oauth2-proxy as the authentication server, as its documentation sets it up for ingress-nginx, with an OpenID provider.

use std::process::Command;

use tests::backend::Backend;
use tests::http::{self, Response};
use tests::process::Process;
use tests::programs;
use tests::stage::{SOON, Stage};
use tests::wait;
use tests::web::EDGE;

use crate::ingress_traffic::prepare;
use crate::manifests::{annotated, ingress, pod, workload};

const PROVIDER: &str = "10.244.1.193:5556";

/// The Service of oauth2-proxy, which listens on 4180, and its Pod.
fn proxy(address: &str) -> String {
    let service = "
---
apiVersion: v1
kind: Service
metadata: { name: oauth2-proxy, namespace: oauth }
spec: { selector: { app: oauth2-proxy }, ports: [{ name: http, port: 80, targetPort: 4180 }] }
";
    format!("{service}{}", pod("oauth", "oauth2-proxy-0", "oauth2-proxy", address, true, ""))
}

/// Where a response leads to.
#[track_caller]
fn location(response: &Response) -> String {
    assert_eq!(response.status, 302, "{}", response.text());
    response.header("location").expect("a redirect has a Location").to_owned()
}

/// The cookies that a response sets, as a header line.
fn cookies(response: &Response) -> String {
    let set = response.headers.iter().filter(|(name, _)| name == "set-cookie");
    let pairs: Vec<&str> = set.filter_map(|(_, value)| value.split(';').next()).collect();
    format!("cookie: {}", pairs.join("; "))
}

pub(crate) fn a_login_at_a_provider_lets_requests_pass_with_their_user(stage: &mut Stage) {
    prepare(stage, "oauth");
    let _pod = Backend::start("app", "10.244.1.191:8080");
    let mut provider = Command::new(programs::neighbours().expect("built before the first case"));
    provider.args(["provider", PROVIDER]);
    let _provider = Process::start("provider", provider, stage.folder());
    let page = format!("http://{PROVIDER}/.well-known/openid-configuration");
    wait::until(&page, SOON, || {
        let found =
            http::get(PROVIDER.parse().expect("an address"), PROVIDER, "/.well-known/openid-configuration");
        found.map(drop).map_err(|error| error.to_string())
    });
    let mut oauth2_proxy = Command::new(programs::oauth2_proxy().expect("built before the first case"));
    oauth2_proxy.args([
        "--http-address=10.244.1.192:4180",
        "--provider=oidc",
        &format!("--oidc-issuer-url=http://{PROVIDER}"),
        "--client-id=portolan",
        "--client-secret=secret",
        "--cookie-secret=0123456789abcdef0123456789abcdef",
        "--cookie-secure=false",
        "--email-domain=*",
        "--upstream=static://202",
        "--reverse-proxy=true",
        "--trusted-proxy-ip=0.0.0.0/0",
        "--set-xauthrequest=true",
        "--skip-provider-button=true",
        "--redirect-url=http://oauth.test/oauth2/callback",
    ]);
    let oauth2_proxy = Process::start("oauth2-proxy", oauth2_proxy, stage.folder());
    let api = &stage.plane.api;
    api.apply(&workload("oauth", "app", &["10.244.1.191"]));
    api.apply(&proxy("10.244.1.192"));
    let annotations = "nginx.ingress.kubernetes.io/auth-url: 'http://10.244.1.192:4180/oauth2/auth', \
                       nginx.ingress.kubernetes.io/auth-signin: 'http://$host/oauth2/start?rd=$escaped_request_uri', \
                       nginx.ingress.kubernetes.io/auth-response-headers: 'X-Auth-Request-User, X-Auth-Request-Email'";
    api.apply(&annotated(&ingress("oauth", "app", "oauth.test", "/", "app"), annotations));
    api.apply(&ingress("oauth", "oauth2-proxy", "oauth.test", "/oauth2", "oauth2-proxy"));
    let _portolan = stage.ingress("portolan", &[]);
    let signin = "http://oauth.test/oauth2/start?rd=%2Fcart%3Fid%3D1";
    wait::until("the redirect to the login", SOON, || {
        EDGE.matches(&format!("http://oauth.test/cart?id=1 = 302 {signin}"))
            .map_err(|problem| problem + &oauth2_proxy.log())
    });

    let started = EDGE.get(signin, &[]).expect("a response");
    let at_provider = location(&started);
    let target = at_provider.strip_prefix(&format!("http://{PROVIDER}")).expect("the provider is asked");
    let signed_in = http::get(PROVIDER.parse().expect("an address"), PROVIDER, target).expect("a response");
    let callback = location(&signed_in);
    assert!(callback.starts_with("http://oauth.test/oauth2/callback?code="), "{callback}");
    // Without the cookie that the login began with, there is no session.
    assert_eq!(EDGE.get(&callback, &[]).expect("a response").status, 403, "{}", oauth2_proxy.log());
    let finished = EDGE.get(&callback, &[&cookies(&started)]).expect("a response");
    assert_eq!(location(&finished), "/cart?id=1", "{}", oauth2_proxy.log());

    let session = cookies(&finished);
    let forged = "X-Auth-Request-Email: eve@example.test";
    let passed = EDGE.get("http://oauth.test/cart?id=1", &[&session, forged]).expect("a response");
    assert_eq!((passed.status, passed.header("x-backend")), (200, Some("app")), "{}", oauth2_proxy.log());
    let echo = passed.text();
    let field = |name: &str| {
        let lines = echo.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect::<Vec<_>>()
    };
    assert_eq!(field("x-auth-request-email"), ["ann@example.test"], "{echo}");
    assert_eq!(field("x-auth-request-user"), ["1"], "{echo}");
    EDGE.expect(
        SOON,
        "
http://oauth.test/cart [cookie: _oauth2_proxy=forged]  = 302 http://oauth.test/oauth2/start?rd=%2Fcart
http://oauth.test/oauth2/auth                          = 401
",
    );
}
