//! Corefiles of distributions are served by Portolan in place of CoreDNS, as docs/migration/corefiles.md shows.

use tests::control_plane::API_SERVER;
use tests::documentation::{self, Environment, TestStage};
use tests::namespace::ResolvConf;
use tests::programs;
use tests::stage::Stage;
use tests::upstream::{Address, UPSTREAM, Upstream};

use crate::documentation::{LIMIT, kubectl, no_problems};
use crate::in_a_pod::{mount_token, service_account};

/// What the name server of the node knows. It is the cluster DNS of the node cache, too.
const NAMES: &[Address] = &[
    ("www.example.test.", [192, 0, 2, 8]),
    ("git.corp.test.", [192, 0, 2, 30]),
    ("vm.x.internal.cloudapp.net.", [192, 0, 2, 31]),
    ("kubernetes.default.svc.cluster.local.", [10, 96, 0, 1]),
];

pub(crate) fn corefiles_of_distributions_have_the_answers_of_coredns(stage: &mut Stage) {
    service_account(stage);
    mount_token(stage, "takeover", &stage.plane.api.token("kube-system", "coredns", "first"));
    let _upstream = Upstream::start(NAMES);
    let _node = ResolvConf::mount(&format!("nameserver {UPSTREAM}\n"), stage.folder());
    let portolan = programs::portolan().expect("it has been built");
    let coredns = programs::coredns().expect("it has been built");
    let pod = format!(
        r#"case "$1" in
coredns) program='{}' ;;
portolan) program='{}' ;;
*) echo "no image $1" >&2; exit 1 ;;
esac
shift
exec unshare --mount --propagation private -- sh -ec '
    program=$1 servers=$2 folder=$3; shift 3
    mount -t tmpfs none /etc
    mkdir /etc/coredns /etc/image
    mount --bind "$folder" /etc/coredns
    echo "$servers" > /etc/resolv.conf
    ln -s "$program" /etc/image/coredns
    exec /etc/image/coredns "$@"
' pod "$program" "$(cat /etc/resolv.conf)" "$PWD/coredns" "$@""#,
        coredns.display(),
        portolan.display()
    );
    let (kubectl, admin) = kubectl(stage);
    let commands = documentation::portolan_commands(&portolan);
    let commands = [&commands[..], &[kubectl, ("pod", pod)]].concat();
    let in_a_pod =
        [("KUBERNETES_SERVICE_HOST", API_SERVER.to_owned()), ("KUBERNETES_SERVICE_PORT", "6443".to_owned())];
    let files = [("~/.kube/config", admin.1)];
    let environment = Environment {
        checkout: documentation::checkout(),
        programs: &commands,
        variables: &in_a_pod,
        files: &files,
        limit: LIMIT,
    };
    no_problems(stage, &documentation::run(TestStage::Takeover, &environment));
}
