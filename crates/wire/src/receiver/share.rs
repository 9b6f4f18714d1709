use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much of something each peer has, so that no single one has it all. There are no more entries than there are shares.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One of a peer's.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    peer: IpAddr,
}

impl Shares {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// `None` if the peer has as much as one may have.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Share> {
        let peer = one(peer);
        let mut taken = self.taken();
        let of_peer = taken.get(&peer).copied().unwrap_or(0);
        if of_peer >= self.most {
            return None;
        }
        taken.insert(peer, of_peer + 1);
        Some(Share { shares: Arc::clone(self), peer })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Nothing panics while it is held.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        match taken.get_mut(&self.peer) {
            Some(of_peer @ 2..) => *of_peer -= 1,
            _ => drop(taken.remove(&self.peer)),
        }
    }
}

/// All addresses that are one peer's for sure: whoever has one of IPv6 has its /64 (RFC 4291 §2.5.4).
fn one(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_share_and_no_more_whatever_its_address_is() {
        let shares = Shares::new(2);
        let take = |address: &str| shares.take(address.parse().unwrap());
        let (first, second) = (take("fd00::1").unwrap(), take("fd00::2:3:4:5").unwrap());
        assert!(take("fd00::9").is_none());
        let others = [take("fd00:0:0:1::1"), take("10.0.0.1"), take("::ffff:10.0.0.1")];
        assert!(others.iter().all(Option::is_some));
        assert!(take("10.0.0.1").is_none(), "mapped addresses are those of IPv4");
        drop(first);
        let _again = take("fd00::9").unwrap();
        assert!(take("fd00::9").is_none());
        drop((second, _again, others));
        assert!(shares.taken().is_empty());
    }
}
