use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::pod::{Pod, PodSpec};

/// Pods of a node, as many as a kubelet takes by default.
const PER_NODE: usize = 110;
/// Namespaces that the pods are spread over.
const NAMESPACES: usize = 10;

/// Fills the cluster with `pods` running pods, each with an IPv4 and an IPv6 address of its own (10.128.0.0/9, fd00:10:128::/64), on
/// nodes and in namespaces made for them. One change a pod.
///
/// # Errors
/// If the cluster was populated before.
pub fn populate(cluster: &Cluster, pods: usize) -> Result<Vec<Pod>, Error> {
    for i in 0..NAMESPACES {
        cluster.add_namespace(&format!("load-{i}"))?;
    }
    for i in 0..pods.div_ceil(PER_NODE) {
        let name = format!("load-node-{i}");
        let low = low(i);
        let ip = Ipv4Addr::from(0xc612_8000 + low).to_string();
        cluster.add_node(&name, &[("Hostname", name.as_str()), ("InternalIP", ip.as_str())])?;
    }
    let pod = |i: usize| {
        let set = i / 20;
        let spec = PodSpec::new(
            &format!("load-{}", i % NAMESPACES),
            &format!("web-{set}-{i}"),
            &format!("load-node-{}", i / PER_NODE),
        );
        let spec = spec
            .label("app", &format!("web-{set}"))
            .label("pod-template-hash", "5d4c8b6f7")
            .owner("ReplicaSet", &format!("web-{set}"));
        let ips = [
            IpAddr::from(Ipv4Addr::from(0x0a80_0000 + low(i))),
            IpAddr::from(Ipv6Addr::from((0xfd00_0010_0128_u128 << 80) + i as u128 + 1)),
        ];
        cluster.create_running(spec, &ips)
    };
    (0..pods).map(pod).collect()
}

/// The low bits of address number `i`, counted from 1; there are as many as a /9 has.
fn low(i: usize) -> u32 {
    u32::try_from((i + 1) & 0x7f_ffff).expect("23 bits fit into 32")
}
