//! The example Corefiles load, and their trees match their text.

use config::{Corefile, Disk, ParseOptions};

fn example(name: &str) -> Corefile {
    let path = format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the example can be read");
    let env = |name: &str| {
        let value = match name {
            "CLUSTER_DNS" => "10.96.0.10",
            "UPSTREAM_DNS" => "192.0.2.1",
            "METRICS_ADDRESS" => ":9153",
            "DNS_PORT" => "1053",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let options = ParseOptions { env: &env, ..ParseOptions::default() };
    let corefile = Corefile::parse(&path, &text, &Disk, &options).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(corefile.warnings.is_empty(), "{name}: {:?}", corefile.warnings);
    corefile
}

fn keys(corefile: &Corefile) -> Vec<String> {
    corefile.blocks.iter().flat_map(|block| &block.keys).map(ToString::to_string).collect()
}

#[test]
fn kubeadm() {
    let corefile = example("kubeadm.Corefile");
    let block = &corefile.blocks[0];
    let names: Vec<_> = block.directives.iter().map(|directive| directive.name.to_string()).collect();
    let wanted = "errors health ready kubernetes prometheus forward cache loop reload loadbalance";
    assert_eq!(names.join(" "), wanted);
    let lameduck = &block.once("health").unwrap().unwrap().block[0];
    assert_eq!(lameduck.arg("DURATION").unwrap().duration().unwrap().as_secs(), 5);
    let cache = block.once("cache").unwrap().unwrap();
    assert_eq!(cache.arg("TTL").unwrap().integer(1..=3600), Ok(30));
    assert_eq!(cache.block.len(), 2);
}

#[test]
fn obsolete_options() {
    let corefile = example("classic.Corefile");
    let kubernetes = corefile.blocks[0].once("kubernetes").unwrap().unwrap();
    assert_eq!(config::zones_or_keys(&kubernetes.args, &corefile.blocks[0]).unwrap().len(), 3);
    assert_eq!(*kubernetes.block[1].name, *"upstream");
    assert_eq!(kubernetes.block[1].no_args(), Ok(()));
}

#[test]
fn node_local_cache() {
    let corefile = example("node-local.Corefile");
    assert_eq!(
        keys(&corefile),
        ["dns://cluster.local.:53", "dns://in-addr.arpa.:53", "dns://ip6.arpa.:53", "dns://.:53"]
    );
    for (block, server) in corefile.blocks.iter().zip(["10.96.0.10", "10.96.0.10", "10.96.0.10", "192.0.2.1"])
    {
        let forward = block.once("forward").unwrap().unwrap();
        assert_eq!(forward.args[1].socket_addr(53).unwrap().to_string(), format!("{server}:53"));
    }
}

#[test]
fn imported_files() {
    let corefile = example("split/Corefile");
    let keys = keys(&corefile);
    // 10.96.0.0/12 ends inside an octet and fd00:10:96::/46 inside a nibble.
    assert_eq!(keys.len(), 1 + 16 + 4 + 2 + 2, "{keys:#?}");
    assert_eq!(keys[1], "dns://96.10.in-addr.arpa.:53");
    assert_eq!(keys[17], "dns://4.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa.:53");
    assert_eq!(
        keys[21..],
        ["dns://corp.example.:53", "dns://lab.example.:5300", "dns://.:1053", "dns://fallback.example.:1053"]
    );
    let kubernetes = corefile.blocks[0].once("kubernetes").unwrap().unwrap();
    let namespaces = &kubernetes.block[1];
    assert!(namespaces.name.at.file().ends_with("namespaces.inc"));
    assert_eq!(
        namespaces.args.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(),
        ["default", "kube-system", "team a"]
    );
    let metrics = corefile.blocks[2].once("prometheus").unwrap().unwrap();
    assert_eq!(metrics.args[0].host_port(None).unwrap().to_string(), ":9153");
}
