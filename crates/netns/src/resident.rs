use std::any::Any;
use std::hint;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Error, ErrorKind, Netns, Result};

/// How many closures may wait for one.
const WAITING: usize = 16;

/// How long it and its callers wait without sleeping.
const AWAKE: Duration = Duration::from_micros(30);

/// A thread that lives in a network namespace from its beginning to its end, and executes closures there.
///
/// For whoever makes many sockets in the same namespace: [`Netns::run`] starts a thread for each closure. It is dropped when the
/// closures that were begun are done. It keeps the namespace alive.
///
/// ```no_run
/// use podtrail_netns::Netns;
///
/// let resident = Netns::named("blue")?.resident()?;
/// let sockets = (0..100).map(|_| resident.run(|| std::net::UdpSocket::bind("127.0.0.1:0")));
/// # Ok::<(), podtrail_netns::Error>(())
/// ```
#[derive(Debug)]
pub struct Resident {
    /// `None` while it is dropped.
    tasks: Option<SyncSender<Task>>,
    thread: Option<JoinHandle<()>>,
}

type Task = Box<dyn FnOnce() + Send>;

impl Netns {
    /// Starts a thread in the namespace.
    ///
    /// # Errors
    ///
    /// If no thread can be started, or it cannot enter the namespace.
    pub fn resident(&self) -> Result<Resident> {
        let netns = self.again()?;
        let (tasks, received) = sync_channel::<Task>(WAITING);
        let (entered, has_entered) = sync_channel(1);
        let live = move || {
            let is_in = netns.stay();
            let goes_on = is_in.is_ok();
            if entered.send(is_in).is_ok() && goes_on {
                while let Ok(task) = receive(&received) {
                    task();
                }
            }
        };
        let thread = thread::Builder::new()
            .name("netns".into())
            .spawn(live)
            .map_err(|e| Error::new(ErrorKind::Thread, "cannot start a thread".into(), e))?;
        let resident = Resident { tasks: Some(tasks), thread: Some(thread) };
        answer(&has_entered)??;
        Ok(resident)
    }
}

impl Resident {
    /// Executes a closure in the namespace and waits for its value, and for those before it. A panic in it goes on in the caller.
    ///
    /// # Errors
    ///
    /// If it is called from a closure of the same resident, which would wait for itself. None else, as long as the thread lives.
    pub fn run<T: Send + 'static>(&self, closure: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        if self.thread.as_ref().is_some_and(|thread| thread.thread().id() == thread::current().id()) {
            let what = "a closure in a network namespace cannot wait for another one of its own thread";
            return Err(Error::new(ErrorKind::Thread, what.into(), None));
        }
        let (done, is_done) = sync_channel::<Result<T, Box<dyn Any + Send>>>(1);
        let task = move || {
            let value = panic::catch_unwind(AssertUnwindSafe(closure));
            // The caller waits; if it were gone, nobody would miss the value.
            done.send(value).ok();
        };
        let sent = self.tasks.as_ref().map(|tasks| tasks.send(Box::new(task)));
        if !matches!(sent, Some(Ok(()))) {
            return Err(ended());
        }
        answer(&is_done)?.map_or_else(|panic| panic::resume_unwind(panic), Ok)
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        // Without a sender it ends.
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn answer<T>(receiver: &Receiver<T>) -> Result<T> {
    receive(receiver).map_err(|_ended| ended())
}

/// To be woken takes longer than a socket: for a moment it does not sleep.
fn receive<T>(receiver: &Receiver<T>) -> Result<T, RecvError> {
    let start = Instant::now();
    while start.elapsed() < AWAKE {
        match receiver.try_recv() {
            Ok(value) => return Ok(value),
            Err(TryRecvError::Disconnected) => return Err(RecvError),
            Err(TryRecvError::Empty) => hint::spin_loop(),
        }
    }
    receiver.recv()
}

fn ended() -> Error {
    Error::new(ErrorKind::Thread, "the thread in the network namespace has ended".into(), None)
}
