//! Sets of capabilities, and giving up those that a program shall not have.

use std::fmt;
use std::io;
use std::ops::{BitAnd, BitOr, Sub};
use std::str::FromStr;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::{Error, ErrorKind, Result};

/// A set of capabilities as capabilities(7) has them.
///
/// It is read from names with or without `CAP_`, in any case, with commas between: `net_raw,CAP_NET_ADMIN`; also from `all` and
/// `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u64);

macro_rules! names {
    ($($name:ident)*) => {
        names!(@ 0u32; []; $($name)*);
    };
    (@ $bit:expr; [$($known:ident)*]; $name:ident $($rest:ident)*) => {
        impl Capabilities {
            #[doc = concat!("`CAP_", stringify!($name), "`")]
            pub const $name: Self = Self(1 << ($bit));
        }
        names!(@ $bit + 1; [$($known)* $name]; $($rest)*);
    };
    (@ $bit:expr; [$($known:ident)*];) => {
        /// By number, as in linux/capability.h.
        const NAMES: &[&str] = &[$(stringify!($known)),*];
    };
}

names! {
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
    NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE
    SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
    BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
}

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(0);

    /// All that there are, also those that have no name here yet.
    pub const ALL: Self = Self(u64::MAX);

    /// Those that the calling thread may use: its effective ones.
    ///
    /// # Errors
    ///
    /// If the kernel does not say.
    pub fn of_this_thread() -> Result<Self> {
        capabilities(None).map(|sets| Self(sets.effective.bits())).map_err(|e| failed("cannot read capabilities", e))
    }

    /// Whether all of `others` are in it.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether it is [`NONE`](Self::NONE).
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One by one, in the order of their numbers.
    fn iter(self) -> impl Iterator<Item = Self> {
        (0..u64::BITS).map(|bit| Self(1 << bit)).filter(move |&one| self.contains(one))
    }

    /// What the calling thread, and what it executes, has from now on: what it has of these. Nothing that it executes gets more.
    ///
    /// Without `SETPCAP` the bounding set stays: with `no_new_privs` it gives nothing by itself.
    pub(crate) fn keep_only(self) -> Result<()> {
        let cannot = |e| failed("cannot give up capabilities", e);
        set_no_new_privs(true).map_err(cannot)?;
        let held = capabilities(None).map_err(cannot)?;
        let bounding = bounding();
        // What is neither inheritable nor in the bounding set cannot be passed on to a program.
        let kept = self & Self(held.permitted.bits()) & (bounding | Self(held.inheritable.bits()));
        if held.effective.contains(CapabilitySet::SETPCAP) {
            for dropped in (bounding - kept).iter() {
                remove_capability_from_bounding_set(dropped.set()).map_err(cannot)?;
            }
        }
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
        CapabilitySet::from_bits_retain(self.0)
    }
}

fn bounding() -> Capabilities {
    // The kernel refuses the first number that it has no capability for.
    let all = Capabilities::ALL.iter().map_while(|one| Some((one, capability_is_in_bounding_set(one.set()).ok()?)));
    all.filter_map(|(one, is_in)| is_in.then_some(one)).fold(Capabilities::NONE, BitOr::bitor)
}

fn failed(what: &str, e: Errno) -> Error {
    Error::new(ErrorKind::Capabilities, what.into(), io::Error::from(e))
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Capabilities {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for Capabilities {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => return f.write_str("none"),
            Self::ALL => return f.write_str("all"),
            _ => {}
        }
        for (nth, one) in self.iter().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            let number = one.0.trailing_zeros();
            match NAMES.get(number as usize) {
                Some(name) => write!(f, "{comma}CAP_{name}")?,
                None => write!(f, "{comma}{number}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Capabilities {
    type Err = Error;

    fn from_str(names: &str) -> Result<Self> {
        names.split(',').try_fold(Self::NONE, |all, name| Ok(all | named(name.trim())?))
    }
}

fn named(name: &str) -> Result<Capabilities> {
    let upper = name.to_ascii_uppercase();
    match upper.strip_prefix("CAP_").unwrap_or(&upper) {
        "ALL" => return Ok(Capabilities::ALL),
        "NONE" => return Ok(Capabilities::NONE),
        short => {
            let number = NAMES.iter().position(|known| *known == short).or_else(|| short.parse().ok());
            number.filter(|number| *number < 64).map(|number| Capabilities(1 << number))
        }
    }
    .ok_or_else(|| Error::new(ErrorKind::Name, format!("{name:?} is no name for a capability"), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let check = |names: &str, set: Capabilities, written: &str| {
            assert_eq!(names.parse::<Capabilities>().unwrap(), set, "{names}");
            assert_eq!(set.to_string(), written);
            assert_eq!(written.parse::<Capabilities>().unwrap(), set, "{written}");
        };
        check("NET_RAW", Capabilities::NET_RAW, "CAP_NET_RAW");
        check("cap_net_raw", Capabilities::NET_RAW, "CAP_NET_RAW");
        let both = Capabilities::NET_RAW | Capabilities::NET_ADMIN;
        check("net_raw, Net_Admin,net_raw", both, "CAP_NET_ADMIN,CAP_NET_RAW");
        check("none", Capabilities::NONE, "none");
        check("ALL", Capabilities::ALL, "all");
        check("63,checkpoint_restore", Capabilities(1 << 63 | 1 << 40), "CAP_CHECKPOINT_RESTORE,63");
        for refused in ["", "NET", "NET_RAW,", "64", "-1", "CAP_CAP_NET_RAW", "18446744073709551616"] {
            assert_eq!(refused.parse::<Capabilities>().unwrap_err().kind(), ErrorKind::Name, "{refused:?}");
        }
    }

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
