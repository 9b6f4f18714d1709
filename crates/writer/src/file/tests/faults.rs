//! Steps at which the disk fails or the process dies.

use std::cell::RefCell;
use std::io;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::file) enum Fault {
    /// The disk is full for one step.
    Full,
    /// The process dies: neither this step nor any later one happens.
    Crash,
}

#[derive(Default)]
struct Plan {
    steps: Vec<&'static str>,
    armed: Option<(usize, Fault)>,
    named: Option<&'static str>,
    dead: bool,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
}

/// Starts a process that meets `fault` after so many steps.
pub(super) fn arm(armed: Option<(usize, Fault)>) {
    PLAN.set(Plan { armed, ..Plan::default() });
}

/// Starts a process that meets a full disk at the next step of this name.
pub(super) fn arm_at(name: &'static str) {
    PLAN.set(Plan { named: Some(name), ..Plan::default() });
}

pub(super) fn is_dead() -> bool {
    PLAN.with_borrow(|plan| plan.dead)
}

/// The steps since the last `arm`.
pub(super) fn steps() -> Vec<&'static str> {
    PLAN.with_borrow(|plan| plan.steps.clone())
}

pub(in crate::file) fn reach(name: &'static str) -> io::Result<()> {
    PLAN.with_borrow_mut(|plan| {
        let at = plan.steps.len();
        plan.steps.push(name);
        let named = plan.named.take_if(|named| *named == name).is_some();
        match plan.armed {
            _ if named => Err(io::ErrorKind::StorageFull.into()),
            Some((fatal, Fault::Crash)) if at >= fatal => {
                plan.dead = true;
                Err(io::Error::other("dead"))
            }
            Some((full, Fault::Full)) if at == full => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    })
}
