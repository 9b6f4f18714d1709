"""Which pod really has which address: read from the network namespaces of the containers, without asking the API server.

    addresses.py FILE NODE=SOCKET…    samples until SIGTERM, and writes what was held from when to when, a JSON object a line

A line {"uid", "ip", "before", "from", "to", "after"} says: the pod did not have the address at `before` (null: unknown), had it at `from`, at
`to` and all the time between, and not at `after` (null: it still had it at the end). A line with "node" instead of "ip" says so of a process in
a node's own namespace: of a hostNetwork pod.
"""

import ctypes
import ipaddress
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

EVERY = 0.1
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
POD_OF_MOUNT = re.compile(r"/pods/([0-9a-f-]{36})/etc-hosts ")


HOME = os.open("/proc/self/ns/net", os.O_RDONLY)


def enter(descriptor):
    if LIBC.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def addresses_of(path):
    """What a namespace has; none when there is no such namespace (any more)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return set()
    try:
        enter(descriptor)
        return addresses_here()
    except OSError:
        return set()
    finally:
        os.close(descriptor)
        enter(HOME)  # what this thread is in is not destroyed


def addresses_here():
    """The addresses of the namespace that this thread is in, but those that every one has."""
    found = set()
    with open("/proc/thread-self/net/fib_trie") as file:
        ip = None
        for line in file:
            if "|--" in line:
                ip = line.split()[1]
            elif "/32 host LOCAL" in line:
                found.add(ip)
    with open("/proc/thread-self/net/if_inet6") as file:
        for line in file:
            found.add(str(ipaddress.IPv6Address(int(line.split()[0], 16))))
    return {ip for ip in found if ip and not ip.startswith(("127.", "fe80:")) and ip != "::1"}


class Owners:
    """Which pod a namespace belongs to, as containerd says."""

    def __init__(self, sockets):
        self.sockets, self.known, self.seen = sockets, {}, set()

    def look(self):
        for socket in self.sockets:
            for container in self.ctr(socket, "containers", "ls", "-q").split():
                if container not in self.seen:
                    self.learn(self.ctr(socket, "containers", "info", container), container)

    def learn(self, text, container):
        info = json.loads(text or "{}")
        labels, spec = info.get("Labels") or {}, info.get("Spec") or {}
        if labels.get("io.cri-containerd.kind") == "container":
            self.seen.add(container)
        for namespace in spec.get("linux", {}).get("namespaces", ()):
            name = os.path.basename(namespace.get("path", ""))
            if namespace["type"] == "network" and name.startswith("cni-"):
                self.known[name] = labels["io.kubernetes.pod.uid"]
                self.seen.add(container)

    @staticmethod
    def ctr(socket, *words):
        return subprocess.run(["ctr", "-a", socket, "-n", "k8s.io", *words], capture_output=True, text=True).stdout


class Held:
    """What is held now, and a line for each that was and is no more."""

    def __init__(self, file):
        self.file, self.open, self.absent = file, {}, {}

    def saw(self, key, began, ended):
        hold = self.open.setdefault(key, {"before": self.absent.get(key[0]), "from": ended, "to": began})
        hold["to"] = max(hold["to"], began)

    def missed(self, place, present, began, ended):
        """`place` was looked at, and only `present` of it was there."""
        for key in [k for k in self.open if k[0] == place and k[1] not in present]:
            self.end(key, ended)
        self.absent[place] = began

    def end(self, key, after):
        hold = self.open.pop(key)
        hold["from"] = min(hold["from"], hold["to"])
        self.file.write(json.dumps({"place": key[0], "what": key[1], **hold, "after": after}) + "\n")
        self.file.flush()


def sample(held, places, last):
    """Looks into every namespace of a pod; `places` and `last`: those that were there at the last look, and when that was."""
    names = {name for name in os.listdir("/run/netns") if name.startswith("cni-")}
    for name in names | places:
        held.absent.setdefault(name, last)
        began = time.time()
        present = addresses_of(f"/run/netns/{name}")
        ended = time.time()
        for ip in present:
            held.saw((name, ip), began, ended)
        held.missed(name, present, began, ended)
    return names


def host_processes(held, inodes):
    """Pods with a process in a node's own namespace."""
    began, found = time.time(), {node: set() for node in inodes.values()}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            node = inodes.get(os.stat(f"/proc/{pid}/ns/net").st_ino)
            if node:
                with open(f"/proc/{pid}/mountinfo") as file:
                    uid = POD_OF_MOUNT.search(file.read())
                if uid:
                    found[node].add(uid[1])
        except OSError:
            continue
    ended = time.time()
    for node, uids in found.items():
        for uid in uids:
            held.saw((node, uid), began, ended)
        held.missed(node, uids, began, ended)


def main():
    nodes = dict(word.split("=") for word in sys.argv[2:])
    inodes = {os.stat(f"/run/netns/ptb-{node}").st_ino: node for node in nodes}
    owners, stop = Owners(list(nodes.values())), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    wanted = threading.Event()

    def learn():
        while not stop.is_set():
            wanted.wait(1)
            wanted.clear()
            owners.look()
            time.sleep(0.2)

    threading.Thread(target=learn, daemon=True).start()
    path = sys.argv[1]
    with open(f"{path}.raw", "w") as raw:
        held, on_hosts, places, rounds, last = Held(raw), Held(raw), set(), 0, None
        while not stop.is_set():
            due, began = time.monotonic() + EVERY, time.time()
            places, last = sample(held, places, last), began
            if places - owners.known.keys():
                wanted.set()
            if rounds % 5 == 0:
                host_processes(on_hosts, inodes)
            rounds += 1
            stop.wait(max(0.0, due - time.monotonic()))
        for some in (held, on_hosts):
            for key in list(some.open):
                some.end(key, None)
    with open(f"{path}.raw") as raw, open(path, "w") as file:
        for line in raw:
            hold = json.loads(line)
            place, what = hold.pop("place"), hold.pop("what")
            on_host = place in nodes
            file.write(json.dumps({"uid": what, "node": place, **hold} if on_host else {"uid": owners.known.get(place), "ip": what, **hold}) + "\n")


if __name__ == "__main__":
    main()
