//! A capture of any kind: never a panic, no more memory than a block needs, and what is annotated is read again with its comments.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podtrail_netns::capture::{Contents, PcapngReader, annotate};

fuzz_target!(|data: &[u8]| {
    let mut copy = Vec::new();
    let comments = |_: i128, source: std::net::IpAddr, destination: std::net::IpAddr| {
        [format!("from {source}"), format!("to {destination}"), "always".into()]
    };
    let annotated = annotate(data, &mut copy, comments);
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
        assert!(annotated.commented <= commented);
        let mut again = Vec::new();
        let done = annotate(&*copy, &mut again, comments).expect("it was read");
        assert_eq!((done.commented, again), (0, copy));
    }
});
