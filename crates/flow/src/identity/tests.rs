use std::collections::HashSet;

use super::*;

fn identity() -> Identity {
    Identity {
        netns: 1,
        zone: 0,
        protocol: 6,
        src: "10.0.0.1".parse().unwrap(),
        dst: "10.0.0.2".parse().unwrap(),
        ports: (4711, 443),
        direction_zone: 0,
        id: 7,
        start: Some(1_764_000_000_000_000_000),
    }
}

#[test]
fn a_key_differs_in_each_part_of_the_identity() {
    let mapped = "::ffff:10.0.0.1".parse().unwrap();
    let one = identity();
    let all = [
        one,
        Identity { netns: 2, ..one },
        Identity { zone: 2, ..one },
        Identity { protocol: 17, ..one },
        Identity { src: one.dst, ..one },
        Identity { src: mapped, ..one },
        Identity { dst: one.src, ..one },
        Identity { dst: mapped, ..one },
        Identity { src: one.dst, dst: one.src, ..one },
        Identity { ports: (443, 4711), ..one },
        Identity { ports: (4711, 444), ..one },
        Identity { direction_zone: 2, ..one },
        Identity { id: 8, ..one },
        Identity { start: Some(0), ..one },
        Identity { start: None, ..one },
    ];
    assert_eq!(all.iter().map(Identity::key).collect::<HashSet<_>>().len(), all.len());
}

#[test]
fn a_key_never_changes_between_releases() {
    assert_eq!(format!("{:?}", identity().key()), "5cd216d2a1fd70f8cae11960d1ea5d17");
}

#[test]
fn a_key_says_whether_the_connection_is_stamped() {
    for id in 0..64 {
        assert!(Identity { id, ..identity() }.key().is_stamped());
        assert!(!Identity { id, start: None, ..identity() }.key().is_stamped());
    }
}

#[test]
fn a_key_is_saved_and_read_back() {
    let key = identity().key();
    assert_eq!(Key::from_bytes(key.to_bytes()), key);
}
