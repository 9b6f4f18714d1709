//! A tool in many pods at once.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use podtrail_daemon::{Failure, escape};
use tokio::sync::{Mutex, Semaphore};

use super::{Errand, Outcome, Shared};
use crate::pods::Found;
use crate::tool::{End, Signals};

/// Runs it in all of them, so many at a time, and says how each fared. The exit code is theirs where they agree.
pub(super) async fn run(errand: &Errand<'_>, pods: Vec<Found>, mut signals: Signals) -> Result<u8, Failure> {
    let shared =
        Shared { stdout: Arc::new(Mutex::new(tokio::io::stdout())), stderr: Arc::new(Mutex::new(tokio::io::stderr())) };
    let turns = Semaphore::new(errand.args.parallel.get());
    let all = futures::future::join_all(pods.iter().map(|pod| one(errand, pod, &shared, &turns)));
    let mut all = std::pin::pin!(all);
    let results = tokio::select! {
        results = &mut all => results,
        _ = signals.asked_to_end() => {
            // Tools that run listen for themselves; no other is started.
            turns.close();
            all.await
        }
    };
    summary(&pods, &results).context("cannot say how the tools fared")?;
    Ok(common(results.iter().map(|(result, _)| code(result))))
}

type Fared = (Result<Outcome, Failure>, Duration);

async fn one(errand: &Errand<'_>, pod: &Found, shared: &Shared, turns: &Semaphore) -> Fared {
    let Ok(_turn) = turns.acquire().await else {
        return (Err(anyhow!("not started, since tracer was told to end").into()), Duration::ZERO);
    };
    let began = Instant::now();
    let result = match Signals::listen() {
        Ok(signals) => errand.run(pod, signals, Some(shared)).await,
        Err(e) => Err(anyhow::Error::new(e).context("cannot handle signals").into()),
    };
    (result, began.elapsed())
}

fn code(result: &Result<Outcome, Failure>) -> u8 {
    match result {
        Ok(outcome) => outcome.code(),
        Err(failure) => failure.exit,
    }
}

/// What all failures agree on, or 1; 0 if there is none.
fn common(codes: impl Iterator<Item = u8>) -> u8 {
    codes.filter(|code| *code != 0).reduce(|a, b| if a == b { a } else { 1 }).unwrap_or_default()
}

fn summary(pods: &[Found], results: &[Fared]) -> io::Result<()> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(["POD", "EXIT", "TIME", "OUTPUT", ""]);
    for (pod, (result, taken)) in pods.iter().zip(results) {
        let time = format!("{:.1} s", taken.as_secs_f64());
        let (exit, output, notes) = match result {
            Ok(outcome) => {
                let exit = match outcome.end {
                    End::Exited(code) => code.to_string(),
                    End::Signalled(signal) => format!("signal {signal}"),
                    End::Timer => "timer".to_owned(),
                    End::Lost => "?".to_owned(),
                };
                let notes: Vec<_> = outcome.failures.iter().map(|failure| format!("{failure:#}")).collect();
                (exit, outcome.copied.map(|bytes| format!("{bytes} B")).unwrap_or_default(), notes.join("; "))
            }
            Err(failure) => ("-".to_owned(), String::new(), format!("{:#}", failure.error)),
        };
        table.add_row([pod.title(), exit, time, output, escape(&notes).into_owned()]);
    }
    let mut out = io::stderr().lock();
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_what_failures_agree_on() {
        for (codes, expected) in [(&[][..], 0), (&[0, 0], 0), (&[0, 3, 3], 3), (&[2, 0, 3], 1), (&[69], 69)] {
            assert_eq!(common(codes.iter().copied()), expected, "{codes:?}");
        }
    }
}
