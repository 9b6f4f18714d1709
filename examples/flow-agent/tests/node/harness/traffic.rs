//! What crosses the router.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with};

use super::lab::Lab;

/// Straight, masqueraded and with another destination; once more in the other family.
const TARGETS: [&str; 5] =
    ["198.18.101.2:8080", "198.18.101.2:8081", "198.18.102.1:80", "[fd00:18:101::2]:8080", "[fd00:18:101::2]:8081"];

/// Datagrams from one address to another one: how many, and the bytes in them.
pub(crate) type Datagrams = BTreeMap<(SocketAddr, SocketAddr), (u64, u64)>;

/// TCP and UDP of random sizes, most of it short, some of it long, until it is told to stop.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Datagrams>>,
}

impl Traffic {
    /// Of so many callers, each of which makes a connection about every `pause`.
    pub(crate) fn begin(lab: &Lab, callers: u64, pause: Duration) -> Self {
        serve(lab);
        let stop = Arc::new(AtomicBool::new(false));
        let call = |seed| {
            let stop = stop.clone();
            lab.client.spawn(move || {
                let (mut rng, mut sent) = (SmallRng::seed_from_u64(seed), Datagrams::new());
                while !stop.load(Ordering::Relaxed) {
                    let to = TARGETS[rng.random_range(0..TARGETS.len())].parse().unwrap();
                    let (rounds, wait) = if rng.random_bool(0.005) { (10, 200) } else { (rng.random_range(1..3), 0) };
                    let wait = Duration::from_millis(wait);
                    if rng.random_bool(0.5) {
                        // A connection may be cut when the table is flushed in the middle of it.
                        drop(exchange(&mut rng, to, rounds, wait));
                    } else {
                        send(&mut rng, to, rounds, wait, &mut sent);
                    }
                    thread::sleep(pause);
                }
                sent
            })
        };
        Self { callers: (0..callers).map(call).collect(), stop }
    }

    /// Ends it; says what was sent by UDP.
    pub(crate) fn end(self) -> Datagrams {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Datagrams::new();
        for (ends, (packets, bytes)) in self.callers.into_iter().flat_map(|caller| caller.join().unwrap()) {
            let sum = all.entry(ends).or_default();
            *sum = (sum.0 + packets, sum.1 + bytes);
        }
        all
    }
}

/// TCP that is told how much to read and to send back, and UDP that sends back what it gets.
fn serve(lab: &Lab) {
    let sockets = lab.server.netns.run(|| {
        let listen = |port| {
            let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            let udp = ["198.18.101.2", "fd00:18:101::2"].map(|host| UdpSocket::bind((host, port)).unwrap());
            (TcpListener::bind(all).unwrap(), udp)
        };
        [listen(8080), listen(8081)]
    });
    for (tcp, udp) in sockets.unwrap() {
        thread::spawn(move || {
            for stream in tcp.incoming() {
                thread::spawn(|| answer(stream.unwrap()));
            }
        });
        for socket in udp {
            thread::spawn(move || {
                let mut datagram = [0; 2000];
                loop {
                    let (length, from) = socket.recv_from(&mut datagram).unwrap();
                    socket.send_to(&datagram[..length], from).ok();
                }
            });
        }
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let [up, down] = [0, 8].map(|at| u64::from_le_bytes(head[at..at + 8].try_into().unwrap()));
        swallow(&stream, up)?;
        stream.write_all(&vec![0; usize::try_from(down).unwrap()])?;
    }
}

/// Reads so many bytes, without looking at them.
fn swallow(stream: &TcpStream, mut bytes: u64) -> io::Result<()> {
    let mut buffer = [0_u8; 1 << 16];
    while bytes > 0 {
        let most = usize::try_from(bytes).unwrap_or(usize::MAX).min(buffer.len());
        match (&mut &*stream).read(&mut buffer[..most])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => bytes -= length as u64,
        }
    }
    Ok(())
}

fn exchange(rng: &mut SmallRng, to: SocketAddr, rounds: u32, wait: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    for _ in 0..rounds {
        let [up, down] = [4.5, 5.0].map(|magnitude| 10_f64.powf(rng.random_range(0.0..magnitude)) as u64);
        stream.write_all(&[up.to_le_bytes(), down.to_le_bytes()].concat())?;
        stream.write_all(&vec![0; up as usize])?;
        swallow(&stream, down)?;
        thread::sleep(wait);
    }
    Ok(())
}

fn send(rng: &mut SmallRng, to: SocketAddr, rounds: u32, wait: Duration, sent: &mut Datagrams) {
    let own: IpAddr = if to.is_ipv4() { [198, 18, 100, 2].into() } else { "fd00:18:100::2".parse().unwrap() };
    let socket = UdpSocket::bind((own, 0)).unwrap();
    let sum = sent.entry((socket.local_addr().unwrap(), to)).or_default();
    for _ in 0..rounds {
        let length = rng.random_range(1..1200);
        if socket.send_to(&vec![0; length], to).is_ok() {
            *sum = (sum.0 + 1, sum.1 + length as u64);
        }
        thread::sleep(wait);
    }
}

/// Sends so many bytes through the router by one connection.
pub(crate) fn pour(lab: &Lab, bytes: u64) {
    let listener = lab.server.netns.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9000)).unwrap()).unwrap();
    let receiver = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut received = 0;
        // TRUNC: the kernel throws it away without a copy.
        let mut buffer = vec![0; 1 << 20];
        while received < bytes {
            let (_, length) = recv(&stream, &mut *buffer, RecvFlags::TRUNC).unwrap();
            assert!(length > 0, "cut after {received} bytes");
            received += length as u64;
        }
    });
    let mut stream = lab.client.netns.run(|| TcpStream::connect("198.18.101.2:9000").unwrap()).unwrap();
    let chunk = vec![0; 1 << 20];
    for _ in 0..bytes.div_ceil(1 << 20) {
        stream.write_all(&chunk).unwrap();
    }
    receiver.join().unwrap();
}

/// Sends so many echo requests of 56 bytes to the server, and waits for the answers.
pub(crate) fn ping(lab: &Lab, requests: u16) {
    let hosts: [IpAddr; 2] = ["198.18.101.2".parse().unwrap(), "fd00:18:101::2".parse().unwrap()];
    for host in hosts {
        let (family, protocol, kind) = match host {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128),
        };
        let open = || socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol)).unwrap();
        let socket = lab.client.netns.run(open).unwrap();
        for number in 0..requests {
            let mut request = [0; 64];
            request[0] = kind;
            request[4..8].copy_from_slice(&[7, 7, 0, number as u8]);
            let sum: u32 = request.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
            // For IPv6 the kernel puts it there itself.
            request[2..4].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
            sendto(&socket, &request, SendFlags::empty(), &SocketAddr::new(host, 0)).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
    }
}
