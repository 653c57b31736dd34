//! Authentication: the objects and servers that it needs come and go, and no request passes without them.

use tests::backend::Backend;
use tests::stage::{SOON, Stage};
use tests::wait;
use tests::web::EDGE;

use crate::ingress_traffic::prepare;
use crate::manifests::{annotated, ingress, workload};

/// A Secret with one user in the form of htpasswd.
fn users(namespace: &str, line: &str) -> String {
    format!(
        "\n---\n{{apiVersion: v1, kind: Secret, metadata: {{name: users, namespace: {namespace}}}, stringData: {{auth: '{line}'}}}}\n"
    )
}

pub(crate) fn a_route_with_passwords_is_closed_until_its_secret_exists(stage: &mut Stage) {
    prepare(stage, "passwords");
    let _pod = Backend::start("a", "10.244.1.101:8080");
    let api = &stage.plane.api;
    api.apply(&workload("passwords", "web", &["10.244.1.101"]));
    let annotations =
        "nginx.ingress.kubernetes.io/auth-type: basic, nginx.ingress.kubernetes.io/auth-secret: users";
    api.apply(&annotated(&ingress("passwords", "web", "passwords.test", "/", "web"), annotations));
    let portolan = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://passwords.test/ = 503");
    portolan.wait_for_log(&["Ingress passwords/web", "Secret passwords/users does not exist", "(closed)"]);

    api.apply(&users("passwords", "ann:{PLAIN}secret"));
    EDGE.expect(
        SOON,
        "
http://passwords.test/                                            = 401
http://passwords.test/ [authorization: Basic YW5uOm5vdGhpbmc=]     = 401
http://passwords.test/ [authorization: Basic YW5uOnNlY3JldA==]     = 200 a
",
    );
    wait::until("the end of the problem", SOON, || match portolan.problems() {
        problems if problems.contains("passwords/users") => Err(problems),
        _ => Ok(()),
    });

    api.apply(&users("passwords", "ann:{PLAIN}nothing"));
    EDGE.expect(
        SOON,
        "
http://passwords.test/ [authorization: Basic YW5uOm5vdGhpbmc=]     = 200 a
http://passwords.test/ [authorization: Basic YW5uOnNlY3JldA==]     = 401
",
    );

    api.delete("Secret", "passwords", "users");
    EDGE.expect(SOON, "http://passwords.test/ [authorization: Basic YW5uOm5vdGhpbmc=] = 503");
}

pub(crate) fn a_dead_authentication_server_lets_nothing_pass(stage: &mut Stage) {
    prepare(stage, "external-auth");
    let _pod = Backend::start("a", "10.244.1.102:8080");
    let api = &stage.plane.api;
    api.apply(&workload("external-auth", "web", &["10.244.1.102"]));
    let annotations = "nginx.ingress.kubernetes.io/auth-url: 'http://10.244.1.103:8080/', \
                       nginx.ingress.kubernetes.io/auth-keepalive: '2'";
    api.apply(&annotated(&ingress("external-auth", "web", "guarded.test", "/", "web"), annotations));
    let server = Backend::start("server", "10.244.1.103:8080");
    let portolan = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://guarded.test/ = 200 a");
    drop(server);
    EDGE.expect(SOON, "http://guarded.test/ = 500");
    portolan.wait_for_log(&["external-auth-web-http", "subrequest to http://10.244.1.103:8080/"]);
    let _server = Backend::start("server", "10.244.1.103:8080");
    EDGE.expect(SOON, "http://guarded.test/ = 200 a");
}
