use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use crate::{Error, ErrorKind, Result};

/// The longest name that DNS has, in bytes.
const LONGEST_NAME: usize = 253;

/// Where a server listens: an IP address or a host's name, and a port.
///
/// ```
/// use podtrail_wire::Destination;
///
/// assert_eq!(Destination::new("2001:db8::7", "51001")?.to_string(), "[2001:db8::7]:51001");
/// assert_eq!("collector.tools.svc:51001".parse::<Destination>()?, Destination::new("collector.tools.svc", "51001")?);
/// assert!(Destination::new("10.0.0.256", "51001").is_err());
/// assert!(Destination::new("10.0.0.6", "").is_err());
/// # Ok::<(), podtrail_wire::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    host: Host,
    port: NonZeroU16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Address(IpAddr),
    Name(String),
}

impl Destination {
    /// An address or name, an IPv6 address with or without brackets, and a port from 1 to 65535.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if either is none. Addresses with a zone and addresses that nobody can listen at
    /// (unspecified, multicast) are none.
    pub fn new(host: &str, port: &str) -> Result<Self> {
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let Some(port) = port.parse().ok().filter(|_| digits) else {
            return Err(invalid(format!("port {port:?} of a destination: give a number from 1 to 65535")));
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let address = match bare {
            Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => host.parse().ok(),
        };
        let host = match address {
            Some(address) if address.is_unspecified() || address.is_multicast() => {
                return Err(invalid(format!("destination {host}: nobody can listen at this address")));
            }
            Some(address) => Host::Address(address),
            None if is_name(host) => Host::Name(host.to_owned()),
            None => {
                return Err(invalid(format!("destination {host:?}: give an IP address (no zone) or a host's name")));
            }
        };
        Ok(Self { host, port })
    }

    pub(crate) fn endpoint(&self) -> Result<tonic::transport::Endpoint> {
        tonic::transport::Endpoint::from_shared(format!("http://{self}"))
            .map_err(|e| invalid(format!("destination {self} has no URI")).because(e))
    }
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::Invalid, what)
}

/// As RFC 1123 has it; underscores are in use too. A last label of digits alone would be an IPv4 address (RFC 3696 §2).
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= LONGEST_NAME && name.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// `host:port`, where an IPv6 address is in brackets.
impl FromStr for Destination {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.starts_with('[') => Self::new(host, port),
            _ => Err(invalid(format!("destination {text:?}: give HOST:PORT, with brackets around an IPv6 address"))),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(address) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_connected_to_is_refused() {
        let long = "a".repeat(64);
        let hosts = [
            "",
            " ",
            "[",
            "[]",
            "[10.0.0.1]",
            "10.0.0.256",
            "10.0.0",
            "10",
            "fe80::1%eth0",
            "::",
            "0.0.0.0",
            "224.0.0.1",
            "ff02::1",
            "a..b",
            ".a",
            "-a",
            "a-",
            "a b",
            "a/b",
            "a@b",
            "a:1",
            "http://a",
            "ä",
            "a\0",
            "a\n",
            "[::1",
            "::1]",
            &long,
        ];
        for host in hosts {
            let error = Destination::new(host, "1").unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Invalid, false), "{host:?}");
        }
        for port in ["", "0", "65536", "-1", "+1", " 1", "1 ", "http", "1.0", "99999999999999999999"] {
            assert!(Destination::new("localhost", port).is_err(), "{port:?}");
        }
        for text in ["", ":", "a", "a:", ":1", "::1:1", "::1", "[::1]", "[::1]1", "a:b:1"] {
            assert!(text.parse::<Destination>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_destination_reads_what_it_prints() {
        let cases = [
            ("10.0.0.6", "10.0.0.6:65535"),
            ("::1", "[::1]:65535"),
            ("[2001:db8::1]", "[2001:db8::1]:65535"),
            ("Node_7.example.", "Node_7.example.:65535"),
            ("1.2.3.4a", "1.2.3.4a:65535"),
        ];
        for (host, printed) in cases {
            let destination = Destination::new(host, "65535").unwrap();
            assert_eq!(destination.to_string(), printed);
            assert_eq!(printed.parse::<Destination>().unwrap(), destination);
            destination.endpoint().unwrap();
        }
    }
}
