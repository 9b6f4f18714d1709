use std::net::{IpAddr, Ipv4Addr};

/// The address that a text says, or why it is none that a pod can hold.
pub(crate) fn parse(text: &str) -> Result<IpAddr, &'static str> {
    // Refuses zone ids, ports and prefix lengths too.
    let ip: IpAddr = text.parse().map_err(|_why| "not an IP address")?;
    if ip.is_unspecified() {
        Err("the unspecified address")
    } else if ip.is_loopback() {
        Err("a loopback address")
    } else if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Err("a multicast address")
    } else if matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        Err("an IPv4-mapped IPv6 address")
    } else {
        Ok(ip)
    }
}
