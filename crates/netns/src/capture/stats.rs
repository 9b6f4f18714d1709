/// What became of the packets that passed the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaptureStats {
    /// How many got into the ring.
    pub received: u64,
    /// How many did not, for want of room.
    pub dropped: u64,
    /// How often the ring became full.
    pub freezes: u64,
}
