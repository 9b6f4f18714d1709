//! Sets of capabilities.

use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};
use std::str::FromStr;

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

    /// Those whose bits are 1, as `/proc/PID/status` has them.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// A bit for each, as `/proc/PID/status` has them.
    pub const fn bits(self) -> u64 {
        self.0
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
    pub(crate) fn iter(self) -> impl Iterator<Item = Self> {
        (0..u64::BITS).map(|bit| Self(1 << bit)).filter(move |&one| self.contains(one))
    }
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
}
