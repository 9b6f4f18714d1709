use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::constants::*;
use super::*;

/// One attribute, padded.
fn attribute(id: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
    bytes.extend(id.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn addresses() -> Vec<u8> {
    attribute(
        CTA_TUPLE_IP,
        &[attribute(CTA_IP_V4_SRC, &[10, 0, 0, 1]), attribute(CTA_IP_V4_DST, &[10, 0, 0, 2])].concat(),
    )
}

fn protocol(number: u8, more: &[Vec<u8>]) -> Vec<u8> {
    attribute(CTA_TUPLE_PROTO, &[attribute(CTA_PROTO_NUM, &[number]), more.concat()].concat())
}

fn ports() -> [Vec<u8>; 2] {
    [attribute(CTA_PROTO_SRC_PORT, &4711_u16.to_be_bytes()), attribute(CTA_PROTO_DST_PORT, &80_u16.to_be_bytes())]
}

fn icmp() -> [Vec<u8>; 3] {
    [attribute(CTA_PROTO_ICMP_ID, &[0, 7]), attribute(CTA_PROTO_ICMP_TYPE, &[8]), attribute(CTA_PROTO_ICMP_CODE, &[0])]
}

fn tuples(original: &[u8], reply: &[u8]) -> Vec<u8> {
    [attribute(CTA_TUPLE_ORIG, original), attribute(CTA_TUPLE_REPLY, reply)].concat()
}

/// The two tuples of a TCP connection.
fn tcp() -> Vec<u8> {
    let tuple = [addresses(), protocol(6, &ports())].concat();
    tuples(&tuple, &tuple)
}

fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len() + HEADER).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes
}

/// A message with these attributes, as the kernel sends it of a connection over IPv4.
fn connection(attributes: &[u8]) -> Vec<u8> {
    message(0x100, 2, &[&[AF_INET, 0, 0, 0], attributes].concat())
}

fn parse(datagram: &[u8]) -> Result<Connection<'_>, Malformed> {
    Messages::new(datagram).next().expect("a message")?.connection()
}

#[track_caller]
fn check(datagram: &[u8], kind: MalformedKind, part: &str) {
    let malformed = parse(datagram).unwrap_err();
    assert_eq!((malformed.kind(), malformed.part()), (kind, part), "{malformed}");
}

#[track_caller]
fn check_attributes(attributes: &[u8], kind: MalformedKind, part: &str) {
    check(&connection(attributes), kind, part);
}

#[test]
fn a_message_that_ends_in_its_header_is_truncated() {
    let whole = connection(&tcp());
    check(&whole[..15], MalformedKind::Truncated, "nlmsghdr");
    check(&message(0x100, 0, &[AF_INET, 0]), MalformedKind::Truncated, "nfgenmsg");
    let mut short = whole.clone();
    short[..4].copy_from_slice(&15_u32.to_ne_bytes());
    check(&short, MalformedKind::Truncated, "nlmsghdr");
}

#[test]
fn a_length_beyond_the_datagram_is_overlong() {
    let whole = connection(&tcp());
    check(&whole[..whole.len() - 1], MalformedKind::Overlong, "nlmsghdr");
    for length in [u32::MAX, u32::try_from(whole.len()).unwrap().swap_bytes()] {
        let mut long = whole.clone();
        long[..4].copy_from_slice(&length.to_ne_bytes());
        check(&long, MalformedKind::Overlong, "nlmsghdr");
    }
}

#[test]
fn an_attribute_whose_length_is_wrong_is_refused() {
    let cut = [tcp(), vec![8, 0, 1]].concat();
    check_attributes(&cut, MalformedKind::Truncated, "ctattr_type");
    for (length, kind) in [
        (0_u16, MalformedKind::Truncated),
        (3, MalformedKind::Truncated),
        (9, MalformedKind::Overlong),
        (8_u16.swap_bytes(), MalformedKind::Overlong),
        (u16::MAX, MalformedKind::Overlong),
    ] {
        let mut mark = attribute(CTA_MARK, &[0; 4]);
        mark[..2].copy_from_slice(&length.to_ne_bytes());
        check_attributes(&[tcp(), mark].concat(), kind, "ctattr_type");
    }
}

#[test]
fn a_nested_attribute_that_passes_its_parent_is_overlong() {
    let mut inner = addresses();
    inner[..2].copy_from_slice(&200_u16.to_ne_bytes());
    check_attributes(&tuples(&inner, &inner), MalformedKind::Overlong, "CTA_TUPLE_ORIG");
    let flat = attribute(CTA_COUNTERS_ORIG, &[0xff; 8]);
    check_attributes(&[tcp(), flat].concat(), MalformedKind::Overlong, "CTA_COUNTERS_ORIG");
}

#[test]
fn a_value_of_the_wrong_size_is_refused() {
    for (id, part) in [(CTA_MARK, "CTA_MARK"), (CTA_STATUS, "CTA_STATUS"), (CTA_ID, "CTA_ID"), (CTA_ZONE, "CTA_ZONE")] {
        check_attributes(&[tcp(), attribute(id, &[0; 3])].concat(), MalformedKind::Size, part);
    }
    let counters = attribute(CTA_COUNTERS_REPLY, &attribute(CTA_COUNTERS_BYTES, &[0; 4]));
    check_attributes(&[tcp(), counters].concat(), MalformedKind::Size, "CTA_COUNTERS_BYTES");
    let address = attribute(CTA_TUPLE_IP, &attribute(CTA_IP_V6_SRC, &[0; 4]));
    check_attributes(&tuples(&address, &address), MalformedKind::Size, "CTA_IP_V6_SRC");
}

#[test]
fn what_a_connection_must_have_is_missing() {
    let tuple = [addresses(), protocol(6, &ports())].concat();
    check_attributes(&[], MalformedKind::Missing, "CTA_TUPLE_ORIG");
    check_attributes(&attribute(CTA_TUPLE_ORIG, &tuple), MalformedKind::Missing, "CTA_TUPLE_REPLY");
    check_attributes(&tuples(&tuple, &addresses()), MalformedKind::Missing, "CTA_TUPLE_PROTO");
    check_attributes(&tuples(&protocol(6, &ports()), &tuple), MalformedKind::Missing, "CTA_TUPLE_IP");
    let portless = [addresses(), protocol(17, &[])].concat();
    check_attributes(&tuples(&portless, &portless), MalformedKind::Missing, "CTA_PROTO_SRC_PORT");
    let half = attribute(CTA_COUNTERS_ORIG, &attribute(CTA_COUNTERS_BYTES, &[0; 8]));
    check_attributes(&[tcp(), half].concat(), MalformedKind::Missing, "CTA_COUNTERS_PACKETS");
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    let tuple = [addresses(), protocol(6, &ports())].concat();
    let with = |number, more: &[Vec<u8>]| [addresses(), protocol(number, more)].concat();
    let of = |tuple: &[u8]| tuples(tuple, tuple);
    check_attributes(&tuples(&tuple, &with(17, &ports())), MalformedKind::Contradiction, "CTA_TUPLE_REPLY");
    check_attributes(&of(&with(1, &ports())), MalformedKind::Contradiction, "CTA_PROTO_NUM");
    check_attributes(&of(&with(6, &icmp())), MalformedKind::Contradiction, "CTA_PROTO_NUM");
    check_attributes(&of(&with(58, &icmp())), MalformedKind::Contradiction, "CTA_PROTO_NUM");
    let mixed = [attribute(CTA_IP_V4_SRC, &[0; 4]), attribute(CTA_IP_V6_DST, &[0; 16])].concat();
    let mixed = [attribute(CTA_TUPLE_IP, &mixed), protocol(6, &ports())].concat();
    check_attributes(&of(&mixed), MalformedKind::Contradiction, "CTA_TUPLE_IP");
    let family = message(0x100, 2, &[vec![AF_INET6, 0, 0, 0], tcp()].concat());
    check(&family, MalformedKind::Contradiction, "nfgen_family");
}

#[test]
fn unknown_attributes_are_skipped_at_every_level() {
    let unknown = || attribute(0x3ff0 | NLA_F_NESTED, &[0xff; 5]);
    let inner = [ports().concat(), unknown()].concat();
    let tuple = [unknown(), addresses(), protocol(6, &[inner]), unknown()].concat();
    let counters = [attribute(CTA_COUNTERS_PACKETS, &[0, 0, 0, 0, 0, 0, 0, 1]), unknown()].concat();
    let counters = [counters, attribute(CTA_COUNTERS_BYTES, &[0, 0, 0, 1, 0, 0, 0, 0])].concat();
    let attributes = [unknown(), tuples(&tuple, &tuple), attribute(CTA_COUNTERS_ORIG, &counters), unknown()].concat();
    let datagram = connection(&attributes);
    assert_eq!(parse(&datagram).unwrap().original_counters, Some(Counters { packets: 1, bytes: 1 << 32 }));
}

#[test]
fn counters_of_32_bits_are_read_where_there_are_no_others() {
    let old =
        [attribute(CTA_COUNTERS32_PACKETS, &[0, 0, 0, 2]), attribute(CTA_COUNTERS32_BYTES, &[0, 0, 0, 9])].concat();
    let datagram = connection(&[tcp(), attribute(CTA_COUNTERS_REPLY, &old)].concat());
    assert_eq!(parse(&datagram).unwrap().reply_counters, Some(Counters { packets: 2, bytes: 9 }));
}

#[test]
fn a_datagram_may_have_many_messages_and_need_not_have_an_end() {
    let done = message(NLMSG_DONE, NLM_F_DUMP_INTR, &(-4_i32).to_ne_bytes());
    let bad = connection(&[]);
    let datagram = [connection(&tcp()), bad, message(NLMSG_NOOP, 0, &[]), connection(&tcp()), done].concat();
    let messages: Vec<_> = Messages::new(&datagram).map(Result::unwrap).collect();
    let kinds: Vec<_> = messages.iter().map(Message::kind).collect();
    assert_eq!(kinds, [Kind::Connection, Kind::Connection, Kind::Noop, Kind::Connection, Kind::Done]);
    let readable: Vec<_> = messages.iter().map(|message| message.connection().is_ok()).collect();
    assert_eq!(readable, [true, false, false, true, false]);
    let end = messages[4];
    assert_eq!((end.errno(), end.is_interrupted(), end.sequence()), (Ok(4), true, 7));
    assert!(messages[0].errno().is_err());
    let endless = Messages::new(&datagram[..datagram.len() - 20]);
    assert_eq!(endless.filter(|message| message.is_ok()).count(), 4);
}

#[test]
fn what_the_cpus_counted_is_added_up() {
    let header = vec![AF_UNSPEC, 0, 0, 0];
    let table = [header.clone(), attribute(CTA_STATS_GLOBAL_ENTRIES, &[0, 0, 0, 5])].concat();
    let cpu = [header, attribute(CTA_STATS_DROP, &[0xff; 4]), attribute(CTA_STATS_FOUND, &[0, 0, 0, 1])].concat();
    let cpu = [cpu, attribute(900, &[0, 0, 0, 1])].concat();
    let datagram = [message(0x105, 0, &table), message(0x104, 2, &cpu), message(0x104, 2, &cpu)].concat();
    let mut stats = Stats::default();
    for message in Messages::new(&datagram) {
        stats.add(&message.unwrap()).unwrap();
    }
    assert_eq!((stats.entries, stats.max_entries), (5, None));
    assert_eq!((stats.drop, stats.found), (2 * u64::from(u32::MAX), 2));

    let bad = |datagram: &[u8]| {
        let message = Messages::new(datagram).next().unwrap().unwrap();
        Stats::default().add(&message).map_err(|e| (e.kind(), e.part()))
    };
    assert_eq!(bad(&connection(&tcp())), Err((MalformedKind::Type, "nlmsg_type")));
    assert_eq!(bad(&message(0x104, 2, &[0])), Err((MalformedKind::Truncated, "nfgenmsg")));
    assert_eq!(bad(&message(0x105, 2, &cpu[..cpu.len() - 3])), Err((MalformedKind::Overlong, "ctattr_stats_global")));
    let short = [vec![0; 4], attribute(CTA_STATS_DROP, &[0; 2])].concat();
    assert_eq!(bad(&message(0x104, 2, &short)), Err((MalformedKind::Size, "ctattr_stats_cpu")));
}

#[test]
fn an_error_says_its_number() {
    let errno = |payload: &[u8]| {
        let datagram = message(NLMSG_ERROR, 0, payload);
        Messages::new(&datagram).next().unwrap().unwrap().errno().map_err(|e| e.kind())
    };
    assert_eq!(errno(&0_i32.to_ne_bytes()), Ok(0));
    assert_eq!(errno(&(-1_i32).to_ne_bytes()), Ok(1));
    assert_eq!(errno(&i32::MIN.to_ne_bytes()), Ok(i32::MAX));
    assert_eq!(errno(&[1, 2, 3]), Err(MalformedKind::Truncated));
}

#[test]
fn a_request_that_does_not_fit_is_refused() {
    let tuple = Tuple::with_ports(Protocol::TCP, "[::1]:1".parse().unwrap(), "[::2]:2".parse().unwrap());
    let mut connection = Connection::new(tuple, tuple.inverse());
    assert_eq!(insert(&mut [0; 64], 1, &connection).unwrap_err().kind(), MalformedKind::NoRoom);
    let endless = [0; 1 << 17];
    connection.labels = Some(&endless);
    assert_eq!(insert(&mut vec![0; 1 << 18], 1, &connection).unwrap_err().kind(), MalformedKind::NoRoom);
}

#[test]
fn a_tuple_is_shown_as_the_tool_shows_it() {
    let (src, dst) = ("[fd00::1]:17".parse().unwrap(), "[fd00::2]:80".parse().unwrap());
    let mut tuple = Tuple { zone: 3, ..Tuple::with_ports(Protocol::GRE, src, dst) };
    assert_eq!(tuple.to_string(), "src=fd00::1 dst=fd00::2 srckey=0x11 dstkey=0x50 zone=3");
    tuple = Tuple::with_ports(Protocol::SCTP, src, dst);
    assert_eq!(tuple.to_string(), "src=fd00::1 dst=fd00::2 sport=17 dport=80");
    tuple.transport = Transport::Icmp { id: 7, kind: 128, code: 0 };
    assert_eq!(tuple.to_string(), "src=fd00::1 dst=fd00::2 type=128 code=0 id=7");
}

fn addresses_of_one_family() -> impl Strategy<Value = [IpAddr; 4]> {
    prop_oneof![
        any::<[[u8; 4]; 4]>().prop_map(|all| all.map(|octets| Ipv4Addr::from(octets).into())),
        any::<[[u8; 16]; 4]>().prop_map(|all| all.map(|octets| Ipv6Addr::from(octets).into())),
    ]
}

fn transports() -> impl Strategy<Value = (Protocol, [Transport; 2])> {
    let ports = any::<[(u16, u16); 2]>().prop_map(|both| both.map(|(src, dst)| Transport::Ports { src, dst }));
    let icmp =
        any::<[(u16, u8, u8); 2]>().prop_map(|both| both.map(|(id, kind, code)| Transport::Icmp { id, kind, code }));
    prop_oneof![
        (prop::sample::select(vec![6, 17, 33, 47, 132, 136, 99]).prop_map(Protocol), ports),
        (prop::sample::select(vec![Protocol::ICMP, Protocol::ICMPV6]), icmp),
        (prop::sample::select(vec![0, 47, 50, 132, 255]).prop_map(Protocol), Just([Transport::None; 2])),
    ]
}

fn pairs_of_tuples() -> impl Strategy<Value = (Tuple, Tuple)> {
    (addresses_of_one_family(), transports(), any::<[u16; 2]>()).prop_map(
        |(addresses, (protocol, transports), zones)| {
            let tuple = |i: usize| Tuple {
                src: addresses[2 * i],
                dst: addresses[2 * i + 1],
                protocol,
                transport: transports[i],
                zone: zones[i],
            };
            (tuple(0), tuple(1))
        },
    )
}

fn counters() -> impl Strategy<Value = Option<Counters>> {
    option::of(any::<(u64, u64)>().prop_map(|(packets, bytes)| Counters { packets, bytes }))
}

fn readable(datagram: &[u8]) -> usize {
    Messages::new(datagram).filter(|message| message.is_ok_and(|message| message.connection().is_ok())).count()
}

proptest! {
    #[test]
    fn what_was_encoded_is_parsed_as_it_was(
        (original, reply) in pairs_of_tuples(),
        zone: u16,
        (id, status, mark, timeout) in any::<(Option<u32>, Option<u32>, Option<u32>, Option<u32>)>(),
        original_counters in counters(),
        reply_counters in counters(),
        (start, stop, tcp_state) in any::<(Option<u64>, Option<u64>, Option<u8>)>(),
        labels in option::of(vec(any::<u8>(), 0..=16)),
        helper in option::of(vec(1_u8.., 0..=15)),
    ) {
        let connection = Connection {
            original, reply, zone, id, mark, timeout, original_counters, reply_counters, start, stop,
            status: status.map(Status),
            tcp_state: tcp_state.map(TcpState),
            labels: labels.as_deref(),
            helper: helper.as_deref(),
        };
        let mut buffer = [0xaa; REQUEST_ROOM];
        let datagram = insert(&mut buffer, 1, &connection).unwrap();
        prop_assert_eq!(datagram.len() % 4, 0);
        prop_assert_eq!(parse(datagram).unwrap(), connection);
    }

    #[test]
    fn no_bytes_are_too_bad(mut datagram in vec(any::<u8>(), 0..400), message_type in prop::sample::select(vec![0x100_u16, 0x102, 2, 3])) {
        prop_assert!(readable(&datagram) <= datagram.len() / HEADER);
        // The same bytes as the attributes of a message.
        if datagram.len() > HEADER + FAMILY_HEADER {
            let length = u32::try_from(datagram.len()).unwrap();
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            datagram[4..6].copy_from_slice(&message_type.to_ne_bytes());
            let message = Messages::new(&datagram).next().unwrap().unwrap();
            prop_assert_eq!(message.errno().is_ok(), message_type < 4);
            prop_assert!(message.errno().is_err() || message.connection().is_err());
        }
    }

    #[test]
    fn one_byte_that_is_wrong_is_no_panic((original, reply) in pairs_of_tuples(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut buffer = [0; REQUEST_ROOM];
        let mut datagram = insert(&mut buffer, 1, &Connection::new(original, reply)).unwrap().to_vec();
        let at = at.index(datagram.len());
        datagram[at] = byte;
        prop_assert!(readable(&datagram) <= datagram.len() / HEADER);
    }

    #[test]
    fn the_inverse_of_the_inverse_is_the_tuple((tuple, _) in pairs_of_tuples()) {
        prop_assert_eq!(tuple.inverse().inverse(), tuple);
    }
}
