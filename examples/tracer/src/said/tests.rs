#![allow(clippy::unwrap_used, reason = "a test")]

use podtrail_event::{Bounds, Timestamp};
use podtrail_netns::capture::{
    Contents, Interface, InterfaceInfo, LinkType, Packet, PcapngReader, PcapngWriter, SectionInfo, annotate,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// The packets' source and destination.
const ADDRESSES: [&str; 2] = ["10.0.0.1", "10.0.0.2"];

fn claim(name: &str, subject: Subject, node: &str) -> Claim {
    let at = Timestamp::from_second(0);
    Claim {
        network: "default".into(),
        ip: ADDRESSES[0].parse().unwrap(),
        subject,
        namespace: if subject == Subject::Pod { "shop".into() } else { String::new() },
        name: name.into(),
        uid: "u".into(),
        node: node.into(),
        start: Bounds { earliest: at, latest: Some(at) },
        end: None,
    }
}

/// All that can be said of an address.
fn all(ip: &str) -> Vec<Said> {
    let (pod, moved) = (claim("web-1", Subject::Pod, "node-0"), claim("web-2", Subject::Pod, ""));
    let node = claim("node-0", Subject::Node, "node-0");
    let mut answers = vec![Answer::Nobody];
    for one in [&pod, &moved, &node] {
        answers.extend([Answer::Certain(one), Answer::Presumed(one)]);
    }
    for some in [vec![&pod], vec![&moved, &node], vec![]] {
        answers
            .extend([Answer::Unknown(Uncovered::NotYet, some.clone()), Answer::Unknown(Uncovered::Gap, some.clone())]);
        answers.extend((!some.is_empty()).then_some(Answer::Ambiguous(some)));
    }
    answers.iter().map(|answer| Said::new(ip.parse().unwrap(), answer)).collect()
}

/// What others wrote, or have made of ours.
const THEIRS: [&str; 16] = [
    "",
    "seen by me",
    "10.0.0.1 is pod shop/web-1 on node-0",
    "podtrail: ",
    "podtrail: is this right?",
    "podtrail: 10.0.0.1 is pod shop/web-1 on node-0, I think",
    "podtrail: 10.0.0.1 is pod shop/web-1 on node-0\nlook here",
    "podtrail: 10.0.0.1 is pod web-1 on node-0",
    "podtrail: 10.0.0.1 is pod shop/web-1 or pod shop/web-2",
    "podtrail: 10.0.0.1 is presumably nobody",
    "podtrail: 10.0.0.1 is nobody's ",
    "podtrail: 10.0.0.1  is nobody's",
    "podtrail: 010.0.0.1 is nobody's",
    "podtrail: 10.0.0.1 was last pod shop/web-1",
    "podtrail: fe80::0 is nobody's",
    "Podtrail: 10.0.0.1 is nobody's",
];

#[test]
fn what_we_say_is_recognised_and_what_others_say_is_not() {
    for ip in ["10.0.0.1", "fd00::1"] {
        for said in all(ip) {
            assert_eq!(Said::read(&said.text), Some(said));
        }
    }
    for text in THEIRS {
        assert_eq!(Said::read(text), None, "{text:?}");
    }
}

fn capture(packets: &[Vec<String>]) -> Vec<u8> {
    let mut frame = [&[0; 12][..], &[8, 0, 0x45], &[0; 27]].concat();
    frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    let mut writer = PcapngWriter::new(Vec::new(), &SectionInfo::default()).unwrap();
    let mut info = InterfaceInfo::new(Interface::new(1, "eth0", Some(LinkType::ETHERNET)));
    info.comments = vec!["mine".into(), all(ADDRESSES[0])[0].text.clone()];
    writer.interface(&info).unwrap();
    for (time, comments) in (0..).zip(packets) {
        writer.packet(&Packet::new(time, 1, LinkType::ETHERNET, &frame), comments).unwrap();
    }
    writer.into_output()
}

/// The comments of each packet, and all other blocks.
fn read(bytes: &[u8]) -> (Vec<Vec<String>>, Vec<Vec<u8>>) {
    let (mut reader, mut packets, mut others) = (PcapngReader::new(bytes), Vec::new(), Vec::new());
    while let Some(block) = reader.next().unwrap() {
        match block.contents {
            Contents::Packet { options, .. } => packets.push(options.comments().map(str::to_owned).collect()),
            _ => others.push(block.body.to_vec()),
        }
    }
    (packets, others)
}

/// A packet's comments before, and what is known of its addresses.
fn packet() -> impl Strategy<Value = (Vec<String>, Vec<Said>)> {
    let [of_source, of_destination] = ADDRESSES.map(all);
    let ours = [of_source.clone(), of_destination.clone()].concat();
    let before = prop_oneof![select(&THEIRS[..]).prop_map(str::to_owned), select(ours).prop_map(|said| said.text)];
    let known = (proptest::option::of(select(of_source)), proptest::option::of(select(of_destination)));
    (proptest::collection::vec(before, 0..6), known.prop_map(|(a, b)| a.into_iter().chain(b).collect()))
}

proptest! {
    #[test]
    fn twice_is_as_once_others_comments_stay_and_what_is_certain_stands_alone(
        packets in proptest::collection::vec(packet(), 0..5),
    ) {
        let (before, known): (Vec<_>, Vec<_>) = packets.into_iter().unzip();
        let run = |bytes: &[u8]| {
            let (mut output, mut number) = (Vec::new(), 0);
            annotate(bytes, &mut output, |_, _, _, comments| {
                known[number].iter().for_each(|said: &Said| said.clone().put(comments));
                number += 1;
            })
            .unwrap();
            output
        };
        let bytes = capture(&before);
        let once = run(&bytes);
        prop_assert_eq!(&run(&once), &once);
        let ((after, others), (_, others_before)) = (read(&once), read(&bytes));
        prop_assert_eq!(others, others_before, "interfaces keep what is said of them");
        for ((before, after), known) in before.iter().zip(after).zip(known) {
            let theirs = |comments: &[String]| comments.iter().filter(|c| Said::read(c).is_none()).cloned().collect::<Vec<_>>();
            prop_assert_eq!(theirs(before), theirs(&after));
            for said in known {
                let ours = |comments: &[String]| {
                    comments.iter().filter_map(|c| Said::read(c)).filter(|s| s.ip == said.ip).collect::<Vec<_>>()
                };
                let heaviest = ours(before).iter().map(|s| s.weight).max();
                match heaviest.is_some_and(|before| before > said.weight) {
                    true => prop_assert_eq!(ours(&after), ours(before)),
                    false => prop_assert_eq!(ours(&after), [said]),
                }
            }
        }
    }
}
