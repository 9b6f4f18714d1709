"""Debian's tools in the networks of pods, and in the other namespaces of their containers."""

import os
import pwd
import re
import signal
import subprocess
import threading

from stage import read_json
from bed import wait_until


def judge(stage):
    pods = [stage.running(f"web-{n}") for n in (1, 2, 3)]
    iproute(stage, pods[0])
    traffic(stage, pods)
    tcpdump(stage, *pods[:2])
    capabilities(stage, *pods[:2])
    throughput(stage, *pods[:2])
    throughput(stage, pods[2], pods[0])
    many(stage, pods)
    enter(stage)


def iproute(stage, pod):
    for words in (["ip", "-d", "link"], ["ip", "route", "show", "table", "all"], ["ss", "-tnl"]):
        got, true = stage.tracer("run", "--pod", pod.title, "--", *words), pod.inside(*words)
        stage.verdict(f"{' '.join(words)} shows what it shows in the namespace", got.stdout == true.stdout and got.stdout,
                      f"{len(got.stdout)} B {got.stderr}")
    words = ["sh", "-c", "ip link add veto type veth peer name peer && ip addr add 192.0.2.1/32 dev veto && ip -br addr show veto; ip link del veto"]
    got = stage.tracer("run", "--pod", pod.title, "--", *words)
    stage.verdict("ip may change the pod's network", "192.0.2.1/32" in got.stdout and got.returncode == 0, got.stdout + got.stderr)


def traffic(stage, pods):
    to = ["--pod", pods[0].title, "--"]
    got = stage.tracer("run", *to, "ping", "-c", "3", "-i", "0.2", pods[2].ip)
    stage.verdict("ping reaches a pod of the other node", got.returncode == 0 and " 0% packet loss" in got.stdout, got.stdout[-90:] + got.stderr)
    got = stage.tracer("run", *to, "curl", "-sS", f"http://{pods[1].ip}:8080/hello")
    stage.verdict("curl fetches from another pod", got.stdout == "hello\n", got.stdout + got.stderr)
    listener = stage.start("run", "--pod", pods[1].title, "--", "nc", "-l", "-N", "80")
    wait_until(lambda: ":80 " in pods[1].inside("ss", "-tnl").stdout, 5)
    got = stage.tracer("run", *to, "nc", "-N", "-w", "5", pods[1].ip, "80", text="said by nc\n")
    out, err = listener.communicate(timeout=10)
    stage.verdict("nc listens at a port of root's and is reached", out == "said by nc\n", f"{out!r} {err} {got.stderr}")


def during(stage, source, target, run):
    """What `run` gives, while one pod fetches from the other."""
    over = threading.Event()

    def fetch():
        while not over.wait(0.1):
            stage.fetch(source, target)
    thread = threading.Thread(target=fetch)
    thread.start()
    try:
        return run()
    finally:
        over.set()
        thread.join()


def packets(path):
    done = subprocess.run(["tcpdump", "-nn", "-r", path], capture_output=True, text=True, timeout=30)
    return [line for line in done.stdout.splitlines() if ".8080" in line] if done.returncode == 0 else []


def tcpdump(stage, pod, other):
    path, dump = f"{stage.home}/tcpdump.pcap", ["tcpdump", "-i", "eth0", "-c", "8"]
    got = during(stage, other, pod, lambda: stage.tracer("run", "--pod", pod.title, "-t", "15s", "--", *dump, "-w", path, "tcp", "port", "8080"))
    owner = pwd.getpwuid(os.stat(path).st_uid).pw_name if os.path.exists(path) else None
    stage.verdict("tcpdump -w writes a file, as user tcpdump", got.returncode == 0 and len(packets(path)) == 8 and owner == "tcpdump",
                  f"exit {got.returncode}, {owner}'s, {len(packets(path))} packets {got.stderr}")
    words = ["--pod", pod.title, "-t", "15s", "--", *dump, "-U", "-w", "-", "tcp", "port", "8080"]
    got = during(stage, other, pod, lambda: stage.tracer("run", *words, binary=True))
    with open(path, "wb") as file:
        file.write(got.stdout)
    stage.verdict("tcpdump -w - writes to standard output", got.returncode == 0 and len(packets(path)) == 8,
                  f"{len(got.stdout)} B {got.stderr.decode()}")
    os.unlink(path) # it is tcpdump's, and tracer writes to nobody else's
    words = ["tcpdump", "-a", "-i eth0 -U -w -", "-t", "2s", "-f", path, "--pod", pod.name, "-n", pod.namespace]
    got = during(stage, other, pod, lambda: stage.tracer("run", *words))
    left = subprocess.run(["pgrep", "-fx", "tcpdump -i eth0 -U -w -"], capture_output=True, text=True).stdout.split()
    stage.verdict("the timer ends tcpdump, which is another user's by then", got.returncode == 0 and not left and len(packets(path)) > 8,
                  f"exit {got.returncode}, {len(left)} left, {len(packets(path))} packets {got.stderr}")


def capabilities(stage, pod, other):
    """Takes one capability at a time from the tracer, and with it from the tool."""
    path = f"{stage.home}/without.pcap"
    for name in ("CHOWN", "SETUID", "SETGID", "NET_RAW"):
        without = ["setpriv", f"--bounding-set=-{name.lower()}", f"--inh-caps=-{name.lower()}"]
        words = ["--pod", pod.title, "-t", "2s", "--", "tcpdump", "-i", "eth0", "-w", path]
        got = during(stage, other, pod, lambda: stage.tracer("run", *words, local=True, before=without))
        stage.verdict(f"tcpdump -w needs {name}", got.returncode != 0, got.stderr)
    # It outlives the tracer, and would hold a pipe for as long.
    words, complaints = ["--pod", pod.title, "-t", "1s", "--", "tcpdump", "-i", "eth0", "-w", path], f"{stage.home}/complaints"
    with open(complaints, "w+") as file:
        without = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"]
        code = subprocess.run([*without, *stage.words("run", words, True)], stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=20,
                              env=stage.environment("node1", True)).returncode
        file.seek(0)
        said = file.read()
    for left in subprocess.run(["pgrep", "-fx", f"tcpdump -i eth0 -w {path}"], capture_output=True, text=True).stdout.split():
        os.kill(int(left), signal.SIGTERM)
    stage.verdict("without KILL it says why a tool that is another user's goes on", code != 0 and "CAP_KILL" in said, said)


def throughput(stage, server, client):
    listener = stage.start("run", "--pod", server.title, "--", "iperf3", "-s", "-1", "-J", node=server.node)
    wait_until(lambda: ":5201" in server.inside("ss", "-tnl").stdout, 5)
    got = stage.tracer("run", "--pod", client.title, "--", "iperf3", "-c", server.ip, "-t", "2", "-J", node=client.node)
    out, err = listener.communicate(timeout=15)
    sums = [(read_json(text) or {}).get("end", {}).get("sum_received", {}).get("bits_per_second", 0) / 1e9 for text in (got.stdout, out)]
    good = min(sums) > 0 and got.returncode == listener.returncode == 0
    stage.verdict(f"iperf3 from a pod of {client.node} to one of {server.node}", good, f"{sums[0]:.2f} and {sums[1]:.2f} Gbit/s {got.stderr} {err}")


def many(stage, pods):
    here = [pod for pod in pods if pod.node == "node1"]
    for local in (False, True):
        got = stage.tracer("run", "-l", "app=web", "-n", "default", "--", "ip", "-o", "-4", "addr", "show", "eth0", local=local)
        lines = dict(line.split(" | ", 1) for line in got.stdout.splitlines())
        good = set(lines) == {pod.title for pod in here} and all(f"inet {pod.ip}/" in lines[pod.title] for pod in here)
        good = good and got.returncode == 0 and all(re.search(rf"{pod.title} +0 ", got.stderr) for pod in here)
        stage.verdict(f"-l runs it in each pod of the node{' with --local' if local else ''}", good, f"{lines} {got.stderr}")


def enter(stage):
    second = {"name": "second", "image": "localhost/busybox:1", "command": ["sh", "-c", "echo second >/tmp/which; exec sleep 100001"]}
    first = {**second, "name": "first", "command": ["sh", "-c", "echo first >/tmp/which; exec sleep 100002"]}
    stage.create("two", hostname="a-name-of-its-own", containers=[first, second])
    pod = stage.running("two")
    to = ["--pod", pod.title, "--enter", "mount,uts,ipc,pid"]
    seen = {name: stage.tracer("run", *to, "--", *words) for name, words in {
        "resolv.conf": ["cat", "/etc/resolv.conf"], "hostname": ["hostname"], "processes": ["ps"], "shell": ["readlink", "-f", "/bin/sh"]}.items()}
    said = {name: got.stdout for name, got in seen.items()}
    true = ["nsenter", f"--target={pod.container_pid(stage, 'first')}", "--mount", "--uts", "--ipc", "--pid", "--", "/bin/cat", "/etc/resolv.conf"]
    resolv = subprocess.run(true, capture_output=True, text=True, timeout=10).stdout
    stage.verdict("--enter shows the pod's resolv.conf", said["resolv.conf"] == resolv and "198.19.0.10" in resolv,
                  said["resolv.conf"] or seen["resolv.conf"].stderr)
    stage.verdict("--enter shows the pod's host name", said["hostname"] == "a-name-of-its-own\n", said["hostname"])
    good = "sleep 10000" in said["processes"] and len(said["processes"].splitlines()) <= 4
    stage.verdict("--enter shows the container's processes, and no others", good,
                  said["processes"])
    stage.verdict("--enter runs the container's own shell", said["shell"] == "/bin/busybox\n", said["shell"])
    for name in ("first", "second"):
        got = stage.tracer("run", *to, "--container", name, "--", "cat", "/tmp/which")
        stage.verdict(f"--container {name} is that one", got.stdout == f"{name}\n", got.stdout + got.stderr)
    got = stage.tracer("run", *to, "--container", "third", "--", "true")
    stage.verdict("a container that is not there is named", got.returncode == 69 and "third" in got.stderr, got.stderr)
    got = stage.tracer("run", "--pod", pod.title, "--enter", "uts,ipc", "--", "sh", "-c", "readlink /proc/self/ns/uts; readlink /proc/self/ns/mnt")
    pid = pod.container_pid(stage, "first")
    true = [os.readlink(f"/proc/{pid}/ns/uts"), os.readlink("/proc/self/ns/mnt")]
    stage.verdict("--enter uts,ipc leaves the files where they are", got.stdout.split() == true, f"{got.stdout} {true} {got.stderr}")
