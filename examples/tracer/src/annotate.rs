//! `annotate`: a capture that exists, with the pods that held its addresses.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use podtrail_daemon::Failure;
use podtrail_event::Timestamp;
use podtrail_netns::capture::{annotate as copy, empty_private};

use crate::args::AnnotateArgs;
use crate::output;
use crate::owners::Owners;

pub(crate) fn annotate(args: &AnnotateArgs) -> Result<(), Failure> {
    let ledger = || format!("cannot read ledger {}", args.ledger.display());
    let mut owners = Owners::open(&args.ledger, &args.network).with_context(ledger).map_err(Failure::unavailable)?;
    let input = input(&args.input)?;
    check_apart(args)?;
    let mut output = BufWriter::with_capacity(1 << 18, Output { path: &args.output, opened: None });
    let (mut named, mut failed) = (0_u64, None);
    let done = copy(input, &mut output, |time, source, destination, comments| {
        // What no calendar has, no ledger has.
        let Some(at) = i64::try_from(time).ok().map(Timestamp::from_nanosecond) else { return };
        match owners.said(at, [source, destination]) {
            Ok(said) => {
                named += u64::from(!said.is_empty());
                said.into_iter().for_each(|said| said.put(comments));
            }
            Err(e) => drop(failed.get_or_insert(e)),
        }
    });
    let done = done.with_context(|| format!("cannot annotate {}", args.input.display()))?;
    output.flush().with_context(|| format!("cannot write {}", args.output.display()))?;
    if let Some(e) = failed {
        return Err(Failure::unavailable(anyhow::Error::new(e).context(ledger())));
    }
    say(&format!("{} packets, {} of them with the names of pods", done.packets, named));
    Ok(())
}

fn input(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file =
        File::open(path).with_context(|| format!("cannot read {}", path.display())).map_err(Failure::unavailable)?;
    Ok(Box::new(BufReader::with_capacity(1 << 18, file)))
}

/// What is to be read must not be emptied before.
fn check_apart(args: &AnnotateArgs) -> Result<(), Failure> {
    let file = |path: &Path| std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    match file(&args.output) {
        Some(output) if Some(output) == file(&args.input) => Err(Failure::usage(anyhow!(
            "{} is the input: it would be emptied before it is read",
            args.output.display()
        ))),
        _ => Ok(()),
    }
}

/// Opened, and emptied, when there is something to write: what is no capture leaves it as it was.
struct Output<'a> {
    path: &'a Path,
    opened: Option<Box<dyn Write>>,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let opened = match &mut self.opened {
            Some(opened) => opened,
            None if self.path.as_os_str() == "-" => self.opened.insert(Box::new(io::stdout().lock())),
            None => {
                let file = output::open(self.path).map_err(|e| io::Error::other(format!("{e:#}")))?;
                empty_private(&file)?;
                self.opened.insert(Box::new(file))
            }
        };
        opened.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.opened.as_mut().map_or(Ok(()), |opened| opened.flush())
    }
}

/// Says something that is not the result. Nobody is told when nobody can be.
pub(crate) fn say(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}
