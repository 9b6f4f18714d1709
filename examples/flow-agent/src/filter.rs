//! Which connections are wanted, in words of the command line.

use std::collections::HashSet;
use std::net::IpAddr;

use anyhow::{Context as _, anyhow, bail, ensure};
use podtrail_conntrack::wire::{Protocol, Status};
use podtrail_conntrack::{Family, Filter};

/// What `--help` says of the words.
pub(crate) const HELP: &str = "\
Filters, of which all must hold:
  proto=tcp            tcp, udp, icmp, icmpv6, sctp, dccp, gre, udplite, or a number
  family=ipv4          ipv4 or ipv6
  src= dst=            an address of the first packet's direction
  sport= dport=        a port of it
  reply-src= reply-dst= reply-sport= reply-dport=
                       likewise of the answers' direction: who answers behind a
                       translation
  addr= port=          an address or port that is any of these four
  zone=7               a zone; 0 is none
  mark=0x1/0xff        a mark in the bits of a mask; without one, in all bits
  status=assured       assured, unassured, seen-reply, unreplied, expected,
                       confirmed, src-nat, dst-nat, dying, fixed-timeout,
                       offload, hw-offload; may be given again

Examples:
  flow-agent list proto=tcp dport=443 status=unreplied
  flow-agent list --netns /run/netns/blue addr=10.244.1.7 -o json
  flow-agent list reply-src=fd00::7 mark=0x10/0xf0";

const KEYS: &str = "proto, family, src, dst, sport, dport, reply-src, reply-dst, reply-sport, reply-dport, addr, port, zone, mark, status";

/// The bits of a status, by the names that they have here.
pub(crate) const STATUS: [(&str, Status); 10] = [
    ("expected", Status::EXPECTED),
    ("seen-reply", Status::SEEN_REPLY),
    ("assured", Status::ASSURED),
    ("confirmed", Status::CONFIRMED),
    ("src-nat", Status::SRC_NAT),
    ("dst-nat", Status::DST_NAT),
    ("dying", Status::DYING),
    ("fixed-timeout", Status::FIXED_TIMEOUT),
    ("offload", Status::OFFLOAD),
    ("hw-offload", Status::HW_OFFLOAD),
];

const PROTOCOLS: [Protocol; 8] = [
    Protocol::TCP,
    Protocol::UDP,
    Protocol::ICMP,
    Protocol::ICMPV6,
    Protocol::SCTP,
    Protocol::DCCP,
    Protocol::GRE,
    Protocol::UDPLITE,
];

/// The filter that wants what all words ask for.
pub(crate) fn parse(words: &[String]) -> anyhow::Result<Filter> {
    let (mut filter, mut status) = (Filter::default(), Bits::default());
    let mut seen = HashSet::new();
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            bail!("the filter {word} is not KEY=VALUE; the keys are {KEYS}");
        };
        let context = || format!("the filter {word} is wrong");
        if key == "status" {
            status = status.with(value).with_context(context)?;
            continue;
        }
        ensure!(seen.insert(key), "the filter {word} is wrong: {key} is there already, and all filters must hold");
        filter = with(filter, key, value)
            .with_context(context)?
            .ok_or_else(|| anyhow!("the filter {word} is not known; the keys are {KEYS}"))?;
    }
    Ok(if status.mask.0 == 0 { filter } else { filter.status(status.value, status.mask) })
}

/// The filter with one thing more; `None` if there is no such key.
fn with(filter: Filter, key: &str, value: &str) -> anyhow::Result<Option<Filter>> {
    Ok(Some(match key {
        "proto" => filter.protocol(protocol(value)?),
        "family" => filter.family(family(value)?),
        "src" => filter.original_src(address(value)?),
        "dst" => filter.original_dst(address(value)?),
        "sport" => filter.original_src_port(port(value)?),
        "dport" => filter.original_dst_port(port(value)?),
        "reply-src" => filter.reply_src(address(value)?),
        "reply-dst" => filter.reply_dst(address(value)?),
        "reply-sport" => filter.reply_src_port(port(value)?),
        "reply-dport" => filter.reply_dst_port(port(value)?),
        "addr" => filter.address(address(value)?),
        "port" => filter.port(port(value)?),
        "zone" => filter.zone(value.parse().ok().context("not a zone, which is a number up to 65535")?),
        "mark" => {
            let (value, mask) = mark(value)?;
            filter.mark(value, mask)
        }
        _ => return Ok(None),
    }))
}

fn protocol(text: &str) -> anyhow::Result<Protocol> {
    let named = PROTOCOLS.into_iter().find(|protocol| protocol.to_string() == text);
    let number = || text.parse().ok().map(Protocol);
    named.or_else(number).context("neither a protocol's name nor a number up to 255")
}

fn family(text: &str) -> anyhow::Result<Family> {
    match text {
        "ipv4" => Ok(Family::V4),
        "ipv6" => Ok(Family::V6),
        _ => bail!("neither ipv4 nor ipv6"),
    }
}

/// An IPv4 address that is written as IPv6 is the IPv4 address, as the table has it.
fn address(text: &str) -> anyhow::Result<IpAddr> {
    let address: IpAddr = text.parse().ok().context("not an IPv4 or IPv6 address")?;
    Ok(address.to_canonical())
}

fn port(text: &str) -> anyhow::Result<u16> {
    text.parse().ok().context("not a port, which is a number up to 65535")
}

fn mark(text: &str) -> anyhow::Result<(u32, u32)> {
    let number = |text: &str| {
        let hexadecimal = text.strip_prefix("0x").map(|digits| u32::from_str_radix(digits, 16));
        hexadecimal.unwrap_or_else(|| text.parse()).ok().context("not a mark such as 0x1, 17 or 0x1/0xff")
    };
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (number(value)?, number(mask)?),
        None => (number(text)?, u32::MAX),
    };
    ensure!(value & !mask == 0, "the mark has bits that the mask has not");
    Ok((value, mask))
}

/// Bits of a status that are asked for: those of the mask.
#[derive(Clone, Copy, Debug, Default)]
struct Bits {
    value: Status,
    mask: Status,
}

impl Bits {
    fn with(self, name: &str) -> anyhow::Result<Self> {
        let (bit, is_set) = match name {
            "unreplied" => (Status::SEEN_REPLY, false),
            "unassured" => (Status::ASSURED, false),
            _ => {
                let known = STATUS.iter().find(|(known, _)| *known == name);
                let known = known.with_context(|| {
                    let names: Vec<_> = STATUS.iter().map(|(name, _)| *name).collect();
                    format!("it is none of unreplied, unassured, {}", names.join(", "))
                })?;
                (known.1, true)
            }
        };
        ensure!(!self.mask.contains(bit), "it is there already, or its contrary is");
        let value = if is_set { self.value | bit } else { self.value };
        Ok(Self { value, mask: self.mask | bit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(words: &str) -> anyhow::Result<Filter> {
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn words_ask_for_what_they_name() {
        let ip = |text: &str| text.parse().unwrap();
        let want = Filter::default();
        for (words, expected) in [
            ("", want),
            ("proto=tcp", want.protocol(Protocol::TCP)),
            ("proto=132 family=ipv6", want.protocol(Protocol::SCTP).family(Family::V6)),
            ("src=10.0.0.1 dport=443", want.original_src(ip("10.0.0.1")).original_dst_port(443)),
            ("dst=::ffff:10.0.0.1 sport=1", want.original_dst(ip("10.0.0.1")).original_src_port(1)),
            ("reply-src=fd00::1 reply-sport=8", want.reply_src(ip("fd00::1")).reply_src_port(8)),
            ("reply-dst=fd00::1 reply-dport=9", want.reply_dst(ip("fd00::1")).reply_dst_port(9)),
            ("addr=10.0.0.1 port=53 zone=7", want.address(ip("10.0.0.1")).port(53).zone(7)),
            ("mark=0x1/0xff", want.mark(1, 0xff)),
            ("mark=17", want.mark(17, u32::MAX)),
            ("status=assured status=unreplied", want.status(Status::ASSURED, Status::ASSURED | Status::SEEN_REPLY)),
        ] {
            assert_eq!(filter(words).unwrap(), expected, "{words}");
        }
    }

    #[test]
    fn words_that_are_wrong_are_named() {
        for (words, says) in [
            ("tcp", "the filter tcp is not KEY=VALUE; the keys are proto"),
            ("proto=tcp colour=red", "the filter colour=red is not known; the keys are proto"),
            ("proto=256", "neither a protocol's name"),
            ("src=10.0.0", "not an IPv4 or IPv6 address"),
            ("port=70000", "not a port"),
            ("zone=-1", "not a zone"),
            ("family=4", "neither ipv4 nor ipv6"),
            ("mark=0x", "not a mark"),
            ("mark=0x100/0xff", "the mask has not"),
            ("src=10.0.0.1 src=10.0.0.2", "src is there already"),
            ("status=open", "none of unreplied, unassured, expected"),
            ("status=unreplied status=seen-reply", "its contrary"),
        ] {
            let error = format!("{:#}", filter(words).unwrap_err());
            let word = words.split_whitespace().last().unwrap();
            assert!(error.contains(says) && error.contains(word), "{words} says: {error}");
        }
    }

    #[test]
    fn the_help_names_all_that_is_known() {
        for name in KEYS.split(", ").chain(STATUS.map(|(name, _)| name)) {
            assert!(HELP.contains(name), "{name}");
        }
        for protocol in PROTOCOLS {
            assert!(HELP.contains(&protocol.to_string()), "{protocol}");
        }
    }
}
