//! Queries and their answers as tables in zone file syntax: the Kubernetes DNS specification 1.1.0 and what CoreDNS's
//! `kubernetes` plugin does beyond it.

#[allow(dead_code)]
#[path = "../world/mod.rs"]
mod world;

mod aliases;
mod any_name;
mod reverse;
mod search_list;
mod services;
mod zone_options;
mod zones;

/// The objects of the cluster, one a line.
const CLUSTER: &str = "
    namespace shop stage=prod
    namespace kube-system
    service shop/web 10.96.0.1 http/tcp/80 https/tcp/443
    service shop/unnamed 10.96.0.2 /tcp/8080
    service shop/dual 10.96.0.3,fd00:96::3 http/tcp/80
    service shop/six fd00:96::6 http/tcp/80
    service shop/dns 10.96.0.10 dns/udp/53 dns-tcp/tcp/53
    service shop/portless 10.96.0.11
    service shop/pending 0 http/tcp/80
    slice shop/web-1 web http/tcp/8080 : 10.244.0.1 10.244.0.9=named !10.244.0.66

    service shop/heads None
    slice shop/heads-1 heads http/tcp/80 : 172.0.0.2 172.0.0.3 !172.0.0.66
    slice shop/heads-2 heads http/tcp/80 : 5678:abcd::1 2001:db8::
    slice shop/heads-3 heads http/tcp/80 : 172.0.0.4=dup-name 172.0.0.5=Dup-Name
    service shop/bare None
    slice shop/bare-1 bare : 172.0.0.20
    service shop/state None
    slice shop/state-4 state peer/tcp/7000 /tcp/7001 : 10.244.1.1=state-0 10.244.1.2=state-1
    slice shop/state-6 state peer/tcp/7000 /tcp/7001 : fd00:244::1=state-0 fd00:244::2=state-1
    service shop/waiting None
    slice shop/waiting-1 waiting http/tcp/80 : !172.0.0.77
    service shop/nothing None
    slice shop/orphan-1 orphan http/tcp/80 : 172.0.0.99
    service shop/shared None
    slice shop/shared-1 shared http/tcp/80 : 172.0.0.2
    slice shop/shared-2 shared http/tcp/80 : 172.0.0.2
    service shop/split None
    slice shop/split-1 split a/tcp/80 : 172.0.1.1
    slice shop/split-2 split b/tcp/81 : 172.0.1.1

    service shop/ext -> Example.org
    service shop/inside -> web.shop.svc.cluster.local
    service shop/twice -> inside.shop.svc.cluster.local
    service shop/outside -> ext.shop.svc.cluster.local
    service shop/self -> self.shop.svc.cluster.local
    service shop/below -> a.below.shop.svc.cluster.local
    service shop/ping -> pong.shop.svc.cluster.local
    service shop/pong -> ping.shop.svc.cluster.local
    service shop/lost -> gone.shop.svc.cluster.local
    service shop/address -> 10.0.0.1
    service shop/noname -> a..b
    service shop/topod -> 10-1-2-3.shop.pod.cluster.local

    service hidden/web 10.96.1.1 http/tcp/80
    slice hidden/web-1 web http/tcp/80 : 10.244.9.9

    service kube-system/kube-dns 10.96.0.53 dns/udp/53
    slice kube-system/kube-dns-1 kube-dns dns/udp/53 : 10.244.5.1 10.244.5.2
    pod shop/web-0 10.244.0.1 fd00:244::a
    pod shop/odd 2001:db8::
    pod hidden/p 10.244.9.9
";
