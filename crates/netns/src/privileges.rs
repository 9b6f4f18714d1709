//! Which capabilities a thread has, and giving up those that a program shall not have.

use std::io;
use std::ops::BitOr as _;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, configure_capability_in_ambient_set,
    set_capabilities, set_no_new_privs,
};

use crate::{Capabilities, Error, ErrorKind, Result};

impl Capabilities {
    /// Those that the calling thread may use: its effective ones.
    ///
    /// # Errors
    ///
    /// If the kernel does not say.
    pub fn of_this_thread() -> Result<Self> {
        capabilities(None)
            .map(|sets| Self::from_bits(sets.effective.bits()))
            .map_err(|e| failed("cannot read capabilities", e))
    }

    /// What the calling thread, and what it executes, has from now on: what it has of these. Nothing that it executes gets more.
    ///
    /// The bounding set stays: with `no_new_privs` nothing comes from it, and to empty it takes a call for each capability, which
    /// is a tenth of what the program's start takes.
    pub(crate) fn keep_only(self) -> Result<()> {
        let cannot = |e| failed("cannot give up capabilities", e);
        set_no_new_privs(true).map_err(cannot)?;
        let held = capabilities(None).map_err(cannot)?;
        let inheritable = Self::from_bits(held.inheritable.bits());
        // What is neither inheritable nor in the bounding set cannot be passed on to a program.
        let can_pass = |one: &Self| {
            inheritable.contains(*one) || capability_is_in_bounding_set(one.set()).is_ok_and(|is_in| is_in)
        };
        let kept = self & Self::from_bits(held.permitted.bits());
        let kept = kept.iter().filter(can_pass).fold(Self::NONE, Self::bitor);
        let sets = CapabilitySets { effective: kept.set(), permitted: kept.set(), inheritable: kept.set() };
        // What leaves these leaves the ambient set too.
        set_capabilities(None, sets).map_err(cannot)?;
        for one in kept.iter() {
            configure_capability_in_ambient_set(one.set(), true).map_err(cannot)?;
        }
        Ok(())
    }

    /// The error of something that the calling thread would need these for.
    pub(crate) fn missing(self, what: &str) -> Error {
        let lacking = Self::of_this_thread().map_or(self, |held| self - held);
        let what = match lacking.is_empty() {
            false => format!("{what}: {lacking} is missing"),
            true => format!("{what}: {self} is held, but not over its owner, or a security module forbids it"),
        };
        Error::new(ErrorKind::MissingCapability, what, None)
    }

    const fn set(self) -> CapabilitySet {
        CapabilitySet::from_bits_retain(self.bits())
    }
}

fn failed(what: &str, e: Errno) -> Error {
    Error::new(ErrorKind::Capabilities, what.into(), io::Error::from(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_kernel() {
        let check = |ours: Capabilities, kernels: CapabilitySet| assert_eq!(ours.set(), kernels, "{ours}");
        check(Capabilities::CHOWN, CapabilitySet::CHOWN);
        check(Capabilities::NET_RAW, CapabilitySet::NET_RAW);
        check(Capabilities::SYS_ADMIN, CapabilitySet::SYS_ADMIN);
        check(Capabilities::SETFCAP, CapabilitySet::SETFCAP);
        check(Capabilities::CHECKPOINT_RESTORE, CapabilitySet::CHECKPOINT_RESTORE);
    }
}
