//! A capture of any kind: never a panic, no more memory than a block needs, and what is annotated is read again with its comments.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use podtrail_netns::capture::{Comments, Contents, PcapngReader, annotate};

fuzz_target!(|data: &[u8]| {
    let mut copy = Vec::new();
    let change = |_: i128, source: IpAddr, destination: IpAddr, comments: &mut Comments<'_>| {
        comments.retain(|comment| !comment.is_empty());
        for comment in [format!("from {source}"), format!("to {destination}"), "always".into()] {
            comments.add(comment);
        }
    };
    let annotated = annotate(data, &mut copy, change);
    // What was copied until an error is whole, unless the error is that of a packet.
    let mut reader = PcapngReader::new(&*copy);
    let (mut packets, mut commented) = (0, 0);
    while let Some(block) = reader.next().expect("what was copied is read") {
        if let Contents::Packet { options, .. } = block.contents {
            packets += 1;
            commented += u64::from(options.comments().any(|comment| comment == "always"));
        }
    }
    if let Ok(annotated) = annotated {
        assert_eq!(annotated.packets, packets);
        assert!(annotated.changed <= commented);
        let mut again = Vec::new();
        let done = annotate(&*copy, &mut again, change).expect("it was read");
        assert_eq!((done.changed, again), (0, copy));
    }
});
