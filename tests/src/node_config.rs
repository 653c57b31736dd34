//! The configuration files of the node's programs: containerd, CNI plugins and kubelet.

use std::fs;
use std::path::Path;

use crate::pod_images::PAUSE;
use crate::upstream::UPSTREAM;

/// Writes the files into `folder`. `cgroup` is the root of the Pods' cgroups.
pub(crate) fn write(folder: &Path, cgroup: &str) -> Result<(), String> {
    let files = [
        ("containerd.toml", containerd(folder)),
        ("cni/10-bridge.conflist", CNI.to_owned()),
        ("kubelet.yaml", kubelet(folder, cgroup)),
        ("node-resolv.conf", format!("nameserver {UPSTREAM}\n")),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        let written =
            fs::create_dir_all(path.parent().unwrap_or(folder)).and_then(|()| fs::write(&path, text));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// A bridge for Pods with addresses of 10.244.0.0/24, and hostPorts. Traffic that leaves the range gets the node's address,
/// since the test's upstream name server has no route to Pods.
const CNI: &str = r#"{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{ "subnet": "10.244.0.0/24" }]],
        "routes": [{ "dst": "0.0.0.0/0" }]
      }
    },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
"#;

fn containerd(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{folder}/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# Without CAP_SYS_RESOURCE, as in most containers, scores cannot be lowered.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"
"#
    )
}

/// Numbers that differ from kubelet's defaults make changes visible to tests sooner, or tolerate a full disk.
fn kubelet(folder: &Path, cgroup: &str) -> String {
    let folder = folder.display();
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://{folder}/containerd.sock
volumePluginDir: {folder}/volume-plugins
resolvConf: {folder}/node-resolv.conf
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
authentication: {{ anonymous: {{ enabled: true }}, webhook: {{ enabled: false }} }}
authorization: {{ mode: AlwaysAllow }}
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
oomScoreAdj: 0
syncFrequency: 5s
imageGCHighThresholdPercent: 100
imageMinimumGCAge: 24h
evictionHard: {{ memory.available: "0%", nodefs.available: "0%", imagefs.available: "0%", nodefs.inodesFree: "0%" }}
kubeAPIQPS: 200
kubeAPIBurst: 400
"#
    )
}
