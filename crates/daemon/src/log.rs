//! Log lines on standard error.

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{Error, ErrorKind, Result};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[non_exhaustive]
pub enum LogFormat {
    /// One line of text for people, coloured on a terminal.
    #[default]
    #[value(alias = "")] // an empty variable, as templates write it, counts as absent
    Text,
    /// One JSON object a line: `timestamp`, `level`, `target`, `message` and the fields of the event.
    Json,
}

/// The log flags of every daemon, to be flattened into its own.
///
/// ```
/// use clap::Parser;
/// use podtrail_daemon::{LogArgs, LogFormat};
///
/// #[derive(Parser)]
/// struct Flags {
///     #[command(flatten)]
///     log: LogArgs,
/// }
///
/// let flags = Flags::parse_from(["tracker", "--log-format", "json", "--log-level", "info,kube=warn"]);
/// assert_eq!(flags.log.log_format, LogFormat::Json);
/// ```
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Logging")]
#[non_exhaustive]
pub struct LogArgs {
    /// How log lines look
    #[arg(long, value_enum, default_value_t, global = true, env = "PODTRAIL_LOG_FORMAT")]
    pub log_format: LogFormat,

    /// What to log: off, error, warn, info, debug, trace, or a list such as info,podtrail_watch=debug
    ///
    /// Without it PODTRAIL_LOG is asked, then RUST_LOG, then it is what suits the command: info for a daemon, often less for others.
    #[arg(long, value_name = "FILTER", global = true)]
    pub log_level: Option<String>,
}

impl LogArgs {
    /// Calls [`logs`] with these flags and `default`.
    ///
    /// # Errors
    ///
    /// As [`logs`].
    pub fn install(&self, default: &str) -> Result<()> {
        logs(self.log_format, self.log_level.as_deref(), default)
    }
}

/// Sends log lines to standard error from now on, for the whole process. A binary calls it once, first.
///
/// `filter` is a level, or a comma-separated list of levels and `target=level` pairs. Without it the environment variable `PODTRAIL_LOG`
/// is asked, then `RUST_LOG`, then it is `default`; an empty variable counts as absent. Lines are coloured only when standard error is a
/// terminal and `NO_COLOR` is unset or empty. A line that cannot be written is lost without a word.
///
/// # Errors
///
/// [`ErrorKind::LogFilter`] when the filter that applies cannot be understood, with the name of the variable it came from;
/// [`ErrorKind::LogInstall`] when the process already has a log subscriber.
pub fn logs(format: LogFormat, filter: Option<&str>, default: &str) -> Result<()> {
    let filter = choose_filter(filter, default, |name| env::var(name).ok())?;
    let colour = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour)
        // It would report to standard error that standard error is gone, and panic.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|e| Error::new(ErrorKind::LogInstall, "cannot install the log subscriber".to_owned()).because(e))
}

fn choose_filter(flag: Option<&str>, default: &str, variable: impl Fn(&str) -> Option<String>) -> Result<EnvFilter> {
    if let Some(text) = flag {
        return parse_filter("log level", text);
    }
    for name in ["PODTRAIL_LOG", "RUST_LOG"] {
        if let Some(text) = variable(name).filter(|text| !text.is_empty()) {
            return parse_filter(name, &text);
        }
    }
    parse_filter("default log level", default)
}

fn parse_filter(origin: &str, text: &str) -> Result<EnvFilter> {
    // No word at all would silence everything; a lone word that is no level would be a target, and silence everything else.
    let lone_word = !text.contains(['=', ',', '[', ':']);
    if text.is_empty() || (lone_word && text.parse::<LevelFilter>().is_err()) {
        let advice = "use off, error, warn, info, debug, trace, or TARGET=LEVEL";
        return Err(Error::new(ErrorKind::LogFilter, format!("{origin} {text:?} is not a level ({advice})")));
    }
    EnvFilter::builder()
        .parse(text)
        .map_err(|e| Error::new(ErrorKind::LogFilter, format!("{origin} {text:?} cannot be understood")).because(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_podtrail_log_over_rust_log_over_the_default() {
        for (flag, podtrail, rust, expected) in [
            (Some("warn"), "debug", "trace", "warn"),
            (None, "debug", "trace", "debug"),
            (None, "", "trace", "trace"),
            (None, "", "", "off"),
        ] {
            let variable = |name: &str| match name {
                "PODTRAIL_LOG" => Some(podtrail.to_owned()),
                "RUST_LOG" => Some(rust.to_owned()),
                _ => None,
            };
            assert_eq!(choose_filter(flag, "off", variable).unwrap().to_string(), expected);
        }
        assert_eq!(choose_filter(None, "info", |_| None).unwrap().to_string(), "info");
    }

    #[test]
    fn a_filter_that_would_mislead_is_refused_and_its_origin_named() {
        for text in ["dbug", "verbose", "kube=loud", "info,=x=y", ""] {
            let error = parse_filter("RUST_LOG", text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LogFilter, "{text}");
            assert!(error.to_string().starts_with(&format!("RUST_LOG {text:?}")), "{error}");
        }
        for text in ["info", "OFF", "info,kube=warn", "podtrail_watch=debug", "warn,podtrail::x"] {
            parse_filter("log level", text).unwrap();
        }
    }
}
