"""Captures with the names of pods: read by tshark, and held against what the pods really had."""

import calendar
import collections
import os
import re
import signal
import subprocess
import time

from stage import SERVES, tshark
from bed import Tracker, wait_until

# The ledger cannot know yet that the last that is known of an address still holds for a packet of this moment.
LIVE = re.compile(r"^podtrail: (\S+) (?:is|is presumably|was last) pod (\S+) on \S+( \(this late, nothing is recorded yet\))?$")
CERTAIN = re.compile(r"^podtrail: (\S+) is pod (\S+) on \S+$")
SURE = 7  # seconds, after which the tracker has asked the API server again whether a pod is there


def judge(stage):
    pods = [stage.running(f"web-{n}") for n in (1, 2, 3)]
    tracker = Tracker(stage.processes, stage.options.tracker, stage.home, stage.bed.env["KUBECONFIG"], "podtrail", 18881)
    tracker.start()
    if not wait_until(tracker.ready, 30):
        raise RuntimeError(f"the tracker is not ready: see {tracker.log}")
    time.sleep(1)  # of which it knows the pods
    named(stage, pods, tracker)
    annotated(stage, pods, tracker)
    narrowed(stage, pods)
    of_many(stage, pods, tracker)
    reused(stage, pods, tracker)
    stage.verdict("SIGTERM ends the tracker cleanly", tracker.terminate() == 0, "0")


def captured(stage, words, traffic, **options):
    """What a capture says in the end, with this traffic while it runs."""
    process = stage.start("capture", *words, **options)
    path = words[words.index("-w") + 1]
    wait_until(lambda: os.path.exists(path), 5)
    time.sleep(0.3)
    traffic()
    time.sleep(0.7)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=15)
    return process.returncode, err


def names(comments, said=CERTAIN):
    """Which pod each address of a packet is of."""
    return dict(match.groups()[:2] for line in comments.split("|") if (match := said.match(line)))


def wrong_names(rows, pods, said=CERTAIN):
    """Packets between two of these pods that do not name both."""
    titles = {pod.ip: pod.title for pod in pods}
    return [row for row in rows if any(names(row[2], said).get(ip) != titles[ip] for ip in row[:2])]


def between(pods):
    ips = " ".join(f"{pod.ip}," for pod in pods).rstrip(",")
    return f"ip.src in {{{ips}}} && ip.dst in {{{ips}}}"


FIELDS = ("ip.src", "ip.dst", "frame.comment")


def named(stage, pods, tracker):
    path = f"{stage.home}/named.pcapng"
    words = ["--pod", pods[0].title, "--ledger", tracker.ledger, "-w", path]
    began = time.time()
    code, said = captured(stage, words, lambda: (stage.fetch(pods[1], pods[0], 20), stage.fetch(pods[0], pods[2], 20)))
    rows, complaints = tshark(path, *FIELDS, narrow=between(pods))
    stage.verdict("tshark reads a capture without complaint", code == 0 and not complaints, f"exit {code}; {said} {complaints}")
    wrong = wrong_names(rows, pods, LIVE)
    stage.verdict("every packet between pods names both", len(rows) > 300 and not wrong, f"{len(wrong)} of {len(rows)} wrong: {(wrong or rows)[:1]}")
    stamps, _ = tshark(path, "frame.time_epoch")
    times = [row[0] for row in stamps]
    fine = sum(not stamp.endswith("000") for stamp in times) > len(times) * 0.9
    stage.verdict("stamps are of now, to the nanosecond", fine and all(began - 1 < float(stamp) < time.time() for stamp in times), times[:2])
    info = subprocess.run(["capinfos", "-I", path], capture_output=True, text=True, timeout=20).stdout
    stage.verdict("the file says which pod it is of", pods[0].title in info and pods[0].uid in info and pods[0].ip in info,
                  info.split("Description", 1)[-1])
    out = f"{stage.home}/standard-output"
    with open(out, "wb") as file:
        process = stage.start("capture", "--pod", pods[0].title, "-c", "10", "-t", "10s", stdout=file)
        time.sleep(0.5)
        stage.fetch(pods[1], pods[0], 3)
        process.wait(15)
    rows, complaints = tshark(out, "ip.src")
    stage.verdict("a capture goes to standard output, and ends with -c", len(rows) == 10 and not complaints, f"{len(rows)} packets {complaints}")


def annotated(stage, pods, tracker):
    plain, rich = f"{stage.home}/plain.pcap", f"{stage.home}/annotated.pcapng"
    process = stage.start("run", "--pod", pods[0].title, "-t", "3s", "--", "tcpdump", "-i", "eth0", "-w", plain)
    time.sleep(0.7)
    stage.fetch(pods[1], pods[0], 20)
    stage.fetch(pods[0], pods[2], 20)
    process.communicate(timeout=15)
    time.sleep(SURE)
    done = subprocess.run([stage.binary, "annotate", plain, rich, "--ledger", tracker.ledger], capture_output=True, text=True, timeout=30)
    rows, complaints = tshark(rich, *FIELDS, narrow=between(pods))
    wrong = wrong_names(rows, pods)
    stage.verdict("annotate names both pods of every packet of tcpdump's", done.returncode == 0 and len(rows) > 300 and not wrong and not complaints,
                  f"{len(wrong)} of {len(rows)} wrong: {(wrong or rows)[:1]} {done.stderr} {complaints}")
    fields = ("frame.time_epoch", "frame.len", "ip.src", "ip.id")
    before, after = tshark(plain, *fields)[0], tshark(rich, *fields)[0]
    same = before == after
    stage.verdict("annotate changes no packet", same and before,
                  f"{len(before)} packets; {[pair for pair in zip(before, after) if pair[0] != pair[1]][:1]}")


def narrowed(stage, pods):
    path = f"{stage.home}/narrowed.pcapng"
    words = ["--pod", pods[0].title, "-w", path, "--local", f"tcp dst port 8080 and src host {pods[1].ip}"]
    captured(stage, words, lambda: (stage.fetch(pods[1], pods[0], 5), stage.fetch(pods[2], pods[0], 5)))
    rows, complaints = tshark(path, "ip.src", "tcp.dstport")
    counted = collections.Counter(map(tuple, rows))
    stage.verdict("a filter lets through what matches, and nothing else", set(counted) == {(pods[1].ip, "8080")} and not complaints, dict(counted))
    got = stage.tracer("capture", "--pod", pods[0].title, "-w", path, "tcp prot 80")
    stage.verdict("a filter that makes no sense is a usage error", got.returncode == 64, got.stderr)


def of_many(stage, pods, tracker):
    here, path = [pod for pod in pods if pod.node == "node1"], f"{stage.home}/many.pcapng"
    words = ["-l", "app=web", "-n", "default", "--ledger", tracker.ledger, "-w", path, "tcp port 8080"]
    captured(stage, words, lambda: stage.fetch(here[1], here[0], 10))
    rows, complaints = tshark(path, *FIELDS, "frame.interface_name")
    seen = collections.Counter(row[3] for row in rows)
    each = set(seen) == {f"{pod.title}:eth0" for pod in here} and len(set(seen.values())) == 1
    good = each and not wrong_names(rows, here, LIVE) and not complaints
    stage.verdict("-l captures each pod of the node at an interface of its own", good, f"{dict(seen)} {complaints}")


def reused(stage, pods, tracker):
    """One pod ends and another gets its address, while a third speaks to that address and is captured."""
    stage.bed.forget_last_address()
    stage.create("before", SERVES)
    first, path = stage.running("before"), f"{stage.home}/reused.pcapng"
    second = None

    def traffic():
        nonlocal second
        time.sleep(1.5)
        stage.fetch(pods[0], first, 10)
        time.sleep(0.5)
        stage.cluster.delete("default", "before", 1)
        stage.gone("before")
        time.sleep(1)
        stage.bed.forget_last_address()
        stage.create("after", SERVES)
        second = stage.running("after")
        time.sleep(1.5)
        stage.fetch(pods[0], second, 10)
    words = ["--pod", pods[0].title, "-w", path, "--ledger", tracker.ledger, f"tcp port 8080 and host {first.ip}"]
    captured(stage, words, traffic)
    stage.verdict("an address went from one pod to another", second.ip == first.ip and second.uid != first.uid, f"{first.ip} {second.ip}")
    time.sleep(SURE)
    again = f"{stage.home}/reused-again.pcapng"
    subprocess.run([stage.binary, "annotate", path, again, "--ledger", tracker.ledger], capture_output=True, timeout=30)
    created = calendar.timegm(time.strptime(second.object["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ"))
    for name, file, words in (("while captured", path, LIVE), ("annotated later", again, CERTAIN)):
        said = collections.Counter()
        for at, _, _, comments in tshark(file, "frame.time_epoch", *FIELDS)[0]:
            said[(first if float(at) < created else second).title, names(comments, words).get(first.ip)] += 1
        good = set(said) == {(pod.title, pod.title) for pod in (first, second)}
        stage.verdict(f"packets before and after name the right pod, {name}", good, dict(said))
