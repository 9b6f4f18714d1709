//! `tracker demo`.

use crate::Failure;
use crate::args::DemoArgs;

pub(crate) fn demo(args: DemoArgs) -> Result<(), Failure> {
    let _ = args;
    Ok(())
}
