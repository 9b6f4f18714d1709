//! From what the runtime says to descriptors, which stay what they are whatever the runtime does afterwards.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use podtrail_netns::Netns;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{Client, Container, ContainerState, Error, ErrorKind, Listing, Location, Result, SandboxStatus};

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// The first process of a container, pinned by a descriptor of pidfd_open(2): never another that got its number since.
#[derive(Debug)]
pub struct ContainerProcess {
    container: Container,
    pid: u32,
    pidfd: OwnedFd,
}

impl ContainerProcess {
    /// The container.
    pub const fn container(&self) -> &Container {
        &self.container
    }

    /// Its number, which is another process's when it has ended.
    pub const fn pid(&self) -> u32 {
        self.pid
    }
}

impl AsFd for ContainerProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl From<ContainerProcess> for OwnedFd {
    fn from(process: ContainerProcess) -> Self {
        process.pidfd
    }
}

impl Client {
    /// Opens a sandbox's network namespace, then asks again whether it is still that of this sandbox.
    ///
    /// A sandbox that is in the node's network gives the node's namespace: look at
    /// [`host_network`](SandboxStatus::host_network) before.
    ///
    /// # Errors
    ///
    /// As [`namespace_of`](Self::namespace_of). If the namespace cannot be opened ([`Namespace`](ErrorKind::Namespace)), or the sandbox
    /// is another, has stopped or moved meanwhile ([`SandboxChanged`](ErrorKind::SandboxChanged)).
    pub async fn open_namespace(&self, sandbox: &SandboxStatus) -> Result<Netns> {
        let mut location = self.namespace_of(sandbox).await?;
        let mut opened = self.open(&location);
        let by_process = opened.as_ref().err().and_then(|_| self.process_instead(&location, sandbox));
        if let Some(process) = &by_process {
            (location, opened) = (process.clone(), self.open(process));
        }

        let id = &sandbox.sandbox.id;
        let changed =
            |why: &str| Error::new(ErrorKind::SandboxChanged, format!("sandbox {id} {why}: look for the pod again"));
        let again = match self.sandbox(id).await {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(changed("is gone")),
            again => again?,
        };
        if again.sandbox.uid != sandbox.sandbox.uid || again.sandbox.created != sandbox.sandbox.created {
            return Err(changed("is another now"));
        }
        if !again.sandbox.ready {
            return Err(changed("has stopped"));
        }
        let still = match by_process {
            Some(_) => again.info().and_then(|info| {
                info.unwrap_or_default().pid.map(Location::Process).ok_or_else(|| changed("has stopped"))
            }),
            None => self.namespace_of(&again).await,
        };
        match still {
            Ok(still) if still == location => {}
            Err(e) if e.kind() != ErrorKind::NotReady => return Err(e),
            Err(_) => return Err(changed("has stopped")),
            Ok(_) => return Err(changed("has another network namespace now")),
        }
        let netns = opened?;
        // A path may have been taken over by a later namespace before it was first opened, and a number by a later process.
        match self.open(&location) {
            Ok(again) if again == netns => Ok(netns),
            Err(e) if is_shortage(&e) => Err(e),
            Ok(_) | Err(_) => Err(changed("has another network namespace now")),
        }
    }

    /// Pins the first process of a container of the sandbox, for tools that enter its other namespaces: the container of this name,
    /// or else the oldest that runs.
    ///
    /// # Errors
    ///
    /// As every call. If no such container runs ([`NoContainer`](ErrorKind::NoContainer)), or may be one that the runtime lists wrongly
    /// ([`Malformed`](ErrorKind::Malformed)), it ended meanwhile ([`ContainerChanged`](ErrorKind::ContainerChanged)), or its process
    /// cannot be opened or seen ([`Process`](ErrorKind::Process)).
    pub async fn container_process(&self, sandbox: &SandboxStatus, name: Option<&str>) -> Result<ContainerProcess> {
        let containers = self.containers(&sandbox.sandbox).await?;
        let Some(container) = running(&containers.found, name) else {
            return Err(not_running(sandbox, containers, name));
        };
        let id = &container.id;
        let changed =
            |why: &str| Error::new(ErrorKind::ContainerChanged, format!("container {} ({id}) {why}", container.name));
        let pid = self.pid_of(id).await?.ok_or_else(|| changed("has ended: look for it again"))?;
        self.sees_processes()?;
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or_else(|| changed("has an impossible process"))?;
        let pidfd = match pidfd_open(number, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Err(changed("has ended: look for it again")),
            opened => opened.map_err(|e| {
                let what = format!("cannot open process {pid} of container {}", container.name);
                Error::caused(ErrorKind::Process, what, io::Error::from(e))
            })?,
        };
        if self.pid_of(id).await? != Some(pid) || has_ended(&pidfd) {
            return Err(changed("was restarted: look for it again"));
        }
        Ok(ContainerProcess { container: container.clone(), pid, pidfd })
    }

    /// The process of a container that runs; `None` if it does not.
    async fn pid_of(&self, container: &str) -> Result<Option<u32>> {
        let status = match self.container(container).await {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            status => status?,
        };
        if status.container.state != ContainerState::Running {
            return Ok(None);
        }
        let info = status.info()?.unwrap_or_default();
        let unsaid = || {
            Error::new(ErrorKind::Process, format!("the runtime does not say which process container {container} is"))
        };
        info.pid.map(Some).ok_or_else(unsaid)
    }

    /// The sandbox's process, where its path is not mounted but the node's process file system is: podtracer's manifests have it so.
    fn process_instead(&self, location: &Location, sandbox: &SandboxStatus) -> Option<Location> {
        let is_path = matches!(location, Location::Path(_)) && !sandbox.host_network;
        let is_mounted = self.config().proc != Path::new("/proc");
        let info = (is_path && is_mounted).then(|| sandbox.info().ok().flatten()).flatten()?;
        info.pid.map(Location::Process)
    }

    fn open(&self, location: &Location) -> Result<Netns> {
        let cannot = |e: io::Error| {
            let file = location.file(&self.config().proc);
            let hint = match (e.kind(), location) {
                (io::ErrorKind::PermissionDenied, Location::Process(_)) => ": CAP_SYS_PTRACE is missing",
                (io::ErrorKind::NotFound, Location::Process(_)) => {
                    ": has it ended, or is /proc that of another pid namespace?"
                }
                (io::ErrorKind::NotFound, _) => ": is the node's folder mounted here?",
                _ => "",
            };
            Error::caused(
                ErrorKind::Namespace,
                format!("cannot open the network namespace {}{hint}", file.display()),
                e,
            )
        };
        let root = &self.config().root;
        let descriptor = match location {
            Location::Path(path) if root == Path::new("/") => open(path, OPEN, Mode::empty()),
            // Links such as /var/run are followed as the node sees them.
            Location::Path(path) => open(root, OPEN | OFlags::DIRECTORY, Mode::empty())
                .and_then(|root| openat2(root, path, OPEN, Mode::empty(), ResolveFlags::IN_ROOT)),
            Location::Process(pid) => {
                if self.config().proc == Path::new("/proc") {
                    self.sees_processes()?;
                }
                // The folder is that of this process alone, even when its number is used again.
                openat(CWD, self.config().proc.join(pid.to_string()), OPEN | OFlags::DIRECTORY, Mode::empty())
                    .and_then(|process| openat(process, "ns/net", OPEN, Mode::empty()))
            }
        };
        let descriptor = descriptor.map_err(|e| cannot(e.into()))?;
        Netns::adopt(descriptor).map_err(|e| {
            let file = location.file(&self.config().proc);
            let file = file.display();
            let what = format!(
                "{file} is no network namespace here: in a container, mount it with HostToContainer propagation"
            );
            Error::caused(ErrorKind::Namespace, what, e)
        })
    }

    /// A number that the runtime says is that of the same process here only if the runtime is in our pid namespace.
    fn sees_processes(&self) -> Result<()> {
        let why = match self.peer() {
            0 => "cannot be seen from here: run in the node's pid namespace (hostPID)",
            peer => match std::fs::read_to_string(format!("/proc/{peer}/status")) {
                Ok(status) if is_below(&status) => "have other numbers here: run in the runtime's pid namespace",
                // It has ended since, or may not be looked at.
                Ok(_) | Err(_) => return Ok(()),
            },
        };
        Err(Error::new(ErrorKind::Process, format!("the processes of the runtime {why}")))
    }
}

/// Whether something could not be opened for want of descriptors, memory or threads, which tells nothing of it.
fn is_shortage(e: &Error) -> bool {
    let Some(cause) = std::error::Error::source(e) else { return false };
    if let Some(e) = cause.downcast_ref::<podtrail_netns::Error>() {
        return e.kind() == podtrail_netns::ErrorKind::Thread;
    }
    let code = cause.downcast_ref().and_then(io::Error::raw_os_error).map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Whether a process is in a pid namespace below that of `/proc`: `NSpid` of its status is its number in each, down to its own.
fn is_below(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_whitespace().count() > 1)
}

fn running<'a>(containers: &'a [Container], name: Option<&str>) -> Option<&'a Container> {
    let wanted = |c: &&Container| c.state == ContainerState::Running && name.is_none_or(|name| c.name == name);
    match name {
        // A restarted container has its predecessors beside it.
        Some(_) => containers.iter().rev().find(wanted),
        None => containers.iter().find(wanted),
    }
}

fn not_running(sandbox: &SandboxStatus, containers: Listing<Container>, name: Option<&str>) -> Error {
    const SHOWN: usize = 16;
    let crate::Sandbox { namespace, name: pod, .. } = &sandbox.sandbox;
    let Listing { found, mut malformed } = containers;
    let running = found.iter().filter(|container| container.state == ContainerState::Running);
    let mut names: Vec<_> = running.map(|container| &*container.name).take(SHOWN).collect();
    names.dedup();
    let what = match (name, names.is_empty()) {
        (_, true) => format!("no container of pod {namespace}/{pod} is running"),
        (name, false) => {
            let name = name.unwrap_or_default();
            format!("no container {name:?} of pod {namespace}/{pod} is running; these are: {}", names.join(", "))
        }
    };
    match malformed.pop() {
        Some(e) => Error::caused(ErrorKind::Malformed, format!("{what}; one is listed wrongly"), e),
        None => Error::new(ErrorKind::NoContainer, what),
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    !matches!(poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&Timespec::default())), Ok(0))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::{is_below, is_shortage};
    use crate::{Error, ErrorKind};

    #[test]
    fn what_cannot_be_opened_for_want_of_descriptors_has_not_changed() {
        let failed = |errno: Errno| Error::caused(ErrorKind::Namespace, "x".to_owned(), std::io::Error::from(errno));
        assert!(is_shortage(&failed(Errno::MFILE)));
        assert!(!is_shortage(&failed(Errno::NOENT)));
        assert!(!is_shortage(&failed(Errno::ACCESS)));
        assert!(!is_shortage(&Error::new(ErrorKind::Namespace, "x".to_owned())));
    }

    #[test]
    fn a_process_of_a_pid_namespace_below_has_several_numbers() {
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(!is_below(&own));
        assert!(!is_below("Name:\tcontainerd\nNSpid:\t771\nNSpgid:\t771\n"));
        assert!(is_below("Name:\tcontainerd\nNSpid:\t4711\t771\nNSpgid:\t4711\t771\n"));
    }
}
