//! `version`, as podtracer prints it.

use std::io::{self, Write};

/// Five lines. What a release's build does not know is empty, as it is in podtracer's own.
pub(crate) fn print(mut out: impl Write) -> io::Result<()> {
    writeln!(out, "Version:\t {}", env!("CARGO_PKG_VERSION"))?;
    for (name, value) in [
        // It is not made with Go.
        ("Go Version", None),
        ("Build Time", option_env!("PODTRAIL_BUILD_TIME")),
        ("Git User", option_env!("PODTRAIL_GIT_USER")),
        ("Git Commit", option_env!("PODTRAIL_GIT_COMMIT")),
    ] {
        writeln!(out, "{name}:\t {}", value.unwrap_or_default())?;
    }
    Ok(())
}
