//! pcapng as it is written, read and annotated; pcap as it is read.

#![cfg(feature = "capture")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;

use podtrail_netns::ErrorKind;
use podtrail_netns::capture::{
    CaptureStats, Contents, Direction, Interface, InterfaceInfo, LinkType, Packet, PcapngReader, PcapngWriter,
    SectionInfo, annotate, endpoints,
};
use proptest::prelude::*;

/// UDP over IPv4 over Ethernet from 10.0.0.1 to 10.0.0.2.
const FRAME: &[u8] = &[
    2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, // Ethernet
    0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
    0, 9, 0, 9, 0, 8, 0, 0, // UDP
];

#[derive(Clone, Debug, PartialEq)]
struct Written {
    interface: u32,
    link_type: LinkType,
    time: i64,
    original_length: u32,
    direction: Direction,
    data: Vec<u8>,
    comments: Vec<String>,
}

fn written() -> impl Strategy<Value = Written> {
    let data = proptest::collection::vec(any::<u8>(), 0..100);
    let comments = proptest::collection::vec(".{0,20}", 0..3);
    (0..3_u32, 0..=i64::MAX, any::<u32>(), any::<bool>(), data, comments).prop_map(
        |(interface, time, original_length, is_in, data, comments)| {
            let direction = if is_in { Direction::In } else { Direction::Out };
            let link_type = if interface == 2 { LinkType::RAW } else { LinkType::ETHERNET };
            Written { interface, link_type, time, original_length, direction, data, comments }
        },
    )
}

fn write(packets: &[Written]) -> Vec<u8> {
    let mut section = SectionInfo::default();
    section.application = "a test".into();
    section.comments = vec!["of packets".into()];
    let mut writer = PcapngWriter::new(Vec::new(), &section).unwrap();
    for packet in packets {
        let interface = Interface::new(packet.interface, format!("eth{}", packet.interface), Some(packet.link_type));
        writer.interface(&InterfaceInfo::new(interface)).unwrap();
        let mut written = Packet::new(packet.time, packet.interface, packet.link_type, &packet.data);
        written.original_length = packet.original_length;
        written.direction = packet.direction;
        writer.packet(&written, &packet.comments).unwrap();
    }
    writer.into_output()
}

fn read(bytes: &[u8]) -> Vec<Written> {
    let (mut reader, mut names, mut packets) = (PcapngReader::new(bytes), Vec::new(), Vec::new());
    while let Some(block) = reader.next().unwrap() {
        match block.contents {
            Contents::Interface { mut options, .. } => {
                let (_, name) = options.find(|&(code, _)| code == 2).unwrap();
                names.push(str::from_utf8(name).unwrap().strip_prefix("eth").unwrap().parse().unwrap());
            }
            Contents::Packet { interface, link_type, time, original_length, data, options, .. } => {
                let (_, flags) = options.clone().find(|&(code, _)| code == 2).unwrap();
                let direction = if flags[0] & 3 == 1 { Direction::In } else { Direction::Out };
                let (interface, time) = (names[interface as usize], i64::try_from(time.unwrap()).unwrap());
                let (data, comments) = (data.to_vec(), options.comments().map(str::to_owned).collect());
                packets.push(Written { interface, link_type, time, original_length, direction, data, comments });
            }
            _ => {}
        }
    }
    packets
}

proptest! {
    #[test]
    fn what_was_written_is_read(packets in proptest::collection::vec(written(), 0..20)) {
        let bytes = write(&packets);
        prop_assert_eq!(read(&bytes), packets);
        let mut copy = Vec::new();
        annotate(&*bytes, &mut copy, |_, _, _, _| {}).unwrap();
        prop_assert_eq!(copy, bytes);
    }

    #[test]
    fn what_is_cut_or_changed_is_refused_and_no_more(
        packets in proptest::collection::vec(written(), 1..5),
        cut in any::<prop::sample::Index>(),
        change in any::<(prop::sample::Index, u8)>(),
    ) {
        let mut bytes = write(&packets);
        bytes.truncate(cut.index(bytes.len()) + 1);
        let at = change.0.index(bytes.len());
        bytes[at] ^= change.1;
        let mut reader = PcapngReader::new(&*bytes);
        while let Ok(Some(_)) = reader.next() {}
        prop_assert!(reader.next().unwrap().is_none());
    }
}

/// By the registry of options: 6 are those that the filter took, 7 those that the system dropped, 8 those that were delivered.
#[test]
fn what_became_of_packets_is_said_of_a_single_interface_and_of_several_what_is_known() {
    let mut stats = CaptureStats::default();
    (stats.received, stats.dropped) = (5, 2);
    let said = |interfaces: std::ops::Range<u32>| {
        let mut writer = PcapngWriter::new(Vec::new(), &SectionInfo::default()).unwrap();
        for index in interfaces {
            let interface = Interface::new(index, format!("eth{index}"), Some(LinkType::ETHERNET));
            writer.interface(&InterfaceInfo::new(interface)).unwrap();
        }
        writer.packet(&Packet::new(0, 0, LinkType::ETHERNET, FRAME), [""; 0]).unwrap();
        writer.statistics(1, &stats).unwrap();
        let (bytes, mut said) = (writer.into_output(), Vec::new());
        let mut reader = PcapngReader::new(&*bytes);
        while let Some(block) = reader.next().unwrap() {
            if let Contents::Statistics { interface, options, .. } = block.contents {
                let number = |value: &[u8]| value.try_into().map(u64::from_le_bytes).ok();
                said.extend(options.map(|(code, value)| (interface, code, number(value))));
            }
        }
        said
    };
    assert_eq!(said(0..1), [(0, 6, Some(7)), (0, 7, Some(2)), (0, 8, Some(1))]);
    assert_eq!(said(0..2), [(0, 1, None), (0, 8, Some(1)), (1, 8, Some(0))]);
}

/// Blocks of any byte order, put together by hand.
struct Blocks {
    is_big_endian: bool,
    bytes: Vec<u8>,
}

impl Blocks {
    fn new(is_big_endian: bool) -> Self {
        Self { is_big_endian, bytes: Vec::new() }
    }

    fn words(&self, words: &[u32]) -> Vec<u8> {
        let order = |word: &u32| if self.is_big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
        words.iter().flat_map(order).collect()
    }

    fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
        let order = |half: u16| if self.is_big_endian { half.to_be_bytes() } else { half.to_le_bytes() };
        let length = u16::try_from(value.len()).unwrap();
        [&order(code)[..], &order(length), value, &vec![0; value.len().next_multiple_of(4) - value.len()]].concat()
    }

    fn block(&mut self, kind: u32, parts: &[Vec<u8>]) -> &mut Self {
        let body = parts.concat();
        let length = body.len() as u32 + 12;
        let block = [self.words(&[kind, length]), body, self.words(&[length])].concat();
        self.bytes.extend(block);
        self
    }

    fn section(&mut self, length: u64) -> &mut Self {
        let version = if self.is_big_endian { [0, 1, 0, 0] } else { [1, 0, 0, 0] };
        let length = if self.is_big_endian { length.to_be_bytes() } else { length.to_le_bytes() };
        let order = self.words(&[0x1a2b_3c4d]);
        let options = [self.option(4, b"by hand"), vec![0; 4]].concat();
        self.block(0x0a0d_0d0a, &[order, version.into(), length.into(), options])
    }

    fn interface(&mut self, resolution: u8, offset: i64) -> &mut Self {
        let offset = if self.is_big_endian { offset.to_be_bytes() } else { offset.to_le_bytes() };
        let link = if self.is_big_endian { vec![0, 1, 0, 0] } else { vec![1, 0, 0, 0] };
        let options = [self.option(9, &[resolution]), self.option(14, &offset), vec![0; 4]].concat();
        let snap = self.words(&[0]);
        self.block(1, &[link, snap, options])
    }

    fn packet(&mut self, stamp: u64, options: Vec<u8>) -> &mut Self {
        let length = FRAME.len() as u32;
        let fields = self.words(&[0, (stamp >> 32) as u32, stamp as u32, length, length]);
        let data = [FRAME, &[0; 2]].concat();
        self.block(6, &[fields, data, options])
    }
}

#[test]
fn comments_are_added_and_all_else_is_kept() {
    for is_big_endian in [false, true] {
        let build = |length: u64, added: &str| {
            let mut blocks = Blocks::new(is_big_endian);
            let kept = [blocks.option(1, b"kept"), blocks.option(0x8abc, b"unknown")].concat();
            let comment = if added.is_empty() { Vec::new() } else { blocks.option(1, added.as_bytes()) };
            let names = blocks.words(&[0]);
            blocks.section(length).interface(9, 0).block(4, &[names]).block(0x0bad, &[b"private!".to_vec()]);
            blocks.packet(7, [kept, comment, vec![0; 4]].concat());
            blocks.block(3, &[blocks.words(&[4]), b"simp".to_vec()]);
            blocks.section(u64::MAX).interface(9, 0);
            blocks.bytes
        };
        let mut asked = Vec::new();
        let mut once = Vec::new();
        let done = annotate(&*build(4711, ""), &mut once, |time, source, destination, comments| {
            asked.push((time, source, destination));
            comments.add("src=demo/web");
            comments.add("kept");
        });
        let done = done.unwrap();
        assert_eq!((done.packets, done.changed), (2, 1));
        let [source, destination] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse::<IpAddr>().unwrap());
        assert_eq!(asked, [(7, source, destination)]);
        assert_eq!(once, build(u64::MAX, "src=demo/web"));
        let mut twice = Vec::new();
        annotate(&*once, &mut twice, |_, _, _, comments| comments.add("src=demo/web")).unwrap();
        assert_eq!(twice, once);
        // And taken away again, with all else as it was.
        let mut back = Vec::new();
        annotate(&*once, &mut back, |_, _, _, comments| comments.retain(|comment| comment == "kept")).unwrap();
        assert_eq!(back, build(u64::MAX, ""));
    }
}

#[test]
fn stamps_of_every_resolution_are_exact() {
    let check = |resolution: u8, offset: i64, stamp: u64, expected: i128| {
        for is_big_endian in [false, true] {
            let mut blocks = Blocks::new(is_big_endian);
            blocks.section(u64::MAX).interface(resolution, offset).packet(stamp, Vec::new());
            let mut reader = PcapngReader::new(&*blocks.bytes);
            let time = loop {
                if let Contents::Packet { time, .. } = reader.next().unwrap().unwrap().contents {
                    break time;
                }
            };
            assert_eq!(time, Some(expected), "{resolution:#x} {offset} {stamp}");
        }
    };
    check(6, 0, 1_700_000_000_123_456, 1_700_000_000_123_456_000);
    check(9, 0, u64::MAX, u64::MAX.into());
    check(9, -1, 5, -999_999_995);
    check(0, 3, u64::MAX, (i128::from(u64::MAX) + 3) * 1_000_000_000);
    check(12, 0, 1_999, 1);
    check(127, 0, u64::MAX, 0);
    check(0x80, 0, 2, 2_000_000_000);
    check(0x80 | 10, 0, 1, 976_562);
    check(0x80 | 32, 0, 1 << 31, 500_000_000);
    check(
        0xff,
        i64::MIN,
        u64::MAX,
        i128::from(i64::MIN) * 1_000_000_000 + ((i128::from(u64::MAX) * 1_000_000_000) >> 127),
    );
}

#[test]
fn a_pcap_is_read_in_both_orders_with_both_stamps() {
    for (magic, fraction) in [(0xa1b2_c3d4, 123_456), (0xa1b2_3c4d, 123_456_000)] {
        for is_big_endian in [false, true] {
            let blocks = Blocks::new(is_big_endian);
            let version = if is_big_endian { [0, 2, 0, 4] } else { [2, 0, 4, 0] };
            let length = FRAME.len() as u32;
            let parts = [blocks.words(&[magic]), version.into(), blocks.words(&[0, 0, 65_535, 1])];
            let record = [blocks.words(&[1_700_000_000, fraction, length, 99]), FRAME.to_vec()].concat();
            let pcap = [parts.concat(), record.clone(), record].concat();
            let mut copy = Vec::new();
            annotate(&*pcap, &mut copy, |time, source, _, comments| {
                assert_eq!(time, 1_700_000_000_123_456_000);
                comments.add(format!("from {source}"));
            })
            .unwrap();
            let mut reader = PcapngReader::new(&*copy);
            let mut packets = 0;
            while let Some(block) = reader.next().unwrap() {
                let Contents::Packet { time, original_length, data, options, .. } = block.contents else { continue };
                assert_eq!((time, original_length), (Some(1_700_000_000_123_456_000), 99));
                assert_eq!(data, FRAME);
                assert_eq!(options.comments().collect::<Vec<_>>(), ["from 10.0.0.1"]);
                packets += 1;
            }
            assert_eq!(packets, 2);
            let cut = annotate(&pcap[..pcap.len() - 1], Vec::new(), |_, _, _, _| {}).unwrap_err();
            assert_eq!(cut.kind(), ErrorKind::Damaged);
        }
    }
}

#[test]
fn what_is_damaged_is_refused_with_its_place() {
    let check = |bytes: &[u8], place: &str| {
        let mut reader = PcapngReader::new(bytes);
        let error = loop {
            match reader.next() {
                Ok(block) => assert!(block.is_some(), "{place}"),
                Err(e) => break e,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(error.to_string().contains(place), "{error}");
    };
    let mut blocks = Blocks::new(false);
    let section = blocks.section(u64::MAX).bytes.len();
    let mut check_block = |kind: u32, parts: &[Vec<u8>]| {
        blocks.bytes.truncate(section);
        blocks.block(kind, parts);
        check(&blocks.bytes, &format!("at byte {section}:"));
    };
    check_block(6, &[vec![0; 20]]);
    check_block(6, &[vec![0; 8]]);
    check_block(1, &[vec![0; 4]]);
    check_block(7, &[vec![0; 3]]);
    check_block(3, &[vec![1; 4]]);
    check_block(5, &[vec![0; 12]]);
    check(b"neither", "at byte 0: it is neither");
    check(&[0x0a, 0x0d], "at byte 0: it ends");
    let mut long = write(&[])[..8].to_vec();
    long[4..].copy_from_slice(&0x0200_0000_u32.to_le_bytes());
    check(&[long, vec![0x4d, 0x3c, 0x2b, 0x1a]].concat(), "at byte 0");
    assert!(PcapngReader::new(&b""[..]).next().unwrap().is_none());
}

#[test]
fn a_comment_that_is_too_long_and_an_interface_that_is_unknown_are_refused_before_anything_is_written() {
    let mut writer = PcapngWriter::new(Vec::new(), &SectionInfo::default()).unwrap();
    let packet = Packet::new(1, 1, LinkType::ETHERNET, FRAME);
    assert_eq!(writer.packet(&packet, [""; 0]).unwrap_err().kind(), ErrorKind::Interface);
    let interface = Interface::new(1, "odd0", None);
    assert_eq!(writer.interface(&InterfaceInfo::new(interface)).unwrap_err().kind(), ErrorKind::Interface);
    writer.interface(&InterfaceInfo::new(Interface::new(1, "eth0", Some(LinkType::ETHERNET)))).unwrap();
    let before = writer.output().len();
    assert_eq!(writer.packet(&packet, ["x".repeat(65_536)]).unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(writer.output().len(), before);
    writer.packet(&packet, ["x".repeat(65_535)]).unwrap();
    assert_eq!(read_all(writer.output()), 3);
}

fn read_all(bytes: &[u8]) -> usize {
    let mut reader = PcapngReader::new(bytes);
    std::iter::from_fn(|| reader.next().unwrap().map(drop)).count()
}

#[test]
fn addresses_are_found_behind_every_header() {
    let ip = &FRAME[14..];
    let v6 = [&[0x60][..], &[0; 7], &[0xfd; 16], &[0xfe; 16]].concat();
    let pair = |a: &str, b: &str| Some((a.parse().unwrap(), b.parse().unwrap()));
    let v4 = pair("10.0.0.1", "10.0.0.2");
    let check = |link_type, parts: &[&[u8]], expected: Option<(IpAddr, IpAddr)>| {
        let data = parts.concat();
        assert_eq!(endpoints(link_type, &data), expected, "{data:x?}");
        for cut in 0..data.len() {
            endpoints(link_type, &data[..cut]);
        }
    };
    check(LinkType::ETHERNET, &[FRAME], v4);
    check(LinkType::ETHERNET, &[&FRAME[..12], &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0], ip], v4);
    check(
        LinkType::ETHERNET,
        &[&FRAME[..12], &[0x86, 0xdd], &v6],
        pair("fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd", "fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe"),
    );
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 2, 2, 2, 2, 2, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];
    check(LinkType::ETHERNET, &[&FRAME[..12], &[8, 6], &arp], v4);
    check(LinkType::ETHERNET, &[&FRAME[..12], &[0x88, 0xcc], ip], None);
    check(LinkType::ETHERNET, &[&FRAME[..12], &[0x81, 0, 0, 1].repeat(20), &[8, 0], ip], None);
    check(LinkType::RAW, &[ip], v4);
    check(LinkType::IPV4, &[ip], v4);
    check(LinkType::IPV6, &[ip], None);
    check(LinkType::LINUX_SLL, &[&[0; 14], &[8, 0], ip], v4);
    check(LinkType::LINUX_SLL2, &[&[8, 0], &[0; 18], ip], v4);
    check(LinkType(147), &[ip], None);
    assert_eq!(endpoints(LinkType::RAW, &[]), None);
}
