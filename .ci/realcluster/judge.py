"""Says of everything that must hold whether it does: one line each."""

import collections
import concurrent.futures
import json
import random

from trial import ACCOUNT, MAY, MAY_NOT
from truth import Held, Said, seconds

EDGE = 3.5  # seconds around a change in which the API's whole-second stamps allow more than one answer
SOON = 10  # seconds from the API server's first answer until the tracker knows what there is
KEYS = "trackedBy id event name namespace labels annotations creationTimestamp deletionTimestamp podIP node nodeIPs".split()


class Judge:
    def __init__(self, trial):
        self.trial, self.passed, self.failed = trial, 0, 0
        self.said, self.held = Said(f"{trial.home}/frames"), Held(f"{trial.home}/held")
        self.lost = trial.lost
        self.plain, self.full = trial.trackers
        self.rng = random.Random(trial.options.seed)

    def __call__(self, name, good, figure):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print(f"{'ok  ' if good else 'FAIL'} {name}: {figure}", flush=True)

    def none(self, name, bad, of):
        """Holds when nothing is bad, and there was something that could have been."""
        for case in bad[:8]:
            print(f"     {case}", flush=True)
        self(name, not bad and of, f"{len(bad)} of {of} differ")

    def inside_lost(self, since, until):
        return until is not None and any(start <= since and until <= end for start, end in self.lost)

    def in_lost(self, at, edge=0.0):
        return any(start - edge <= at <= end + edge for start, end in self.lost)

    def all(self):
        self.steps()
        self.lines()
        self.records()
        self.bounds()
        self.answers()
        self.node_addresses()
        self.history()
        self.inside()
        self.audit()

    def steps(self):
        """That the trial was what it should be: otherwise nothing below means much."""
        trial, notes = self.trial, self.trial.notes
        self("trackers become ready", notes["started"], "both")
        errors = notes["churn errors"]
        self("pods churn all the time", notes["churned"] > 20 and not errors, f"{notes['churned']} pods, {len(errors)} errors {errors[:2]}")
        self("no node evicts pods for want of room", not self.said.pressures, sorted(self.said.pressures) or "none was short of any")
        # Whether a crashed sandbox gets a new address in time is the kubelet's affair: it is said, and judged by nobody.
        print(f"     a crashed sandbox came back with a new address in time: {notes['new address']}", flush=True)
        ends = ("recreated", "all pods gone")
        self("what was done to pods happened", all(notes[end] for end in ends), {end: notes[end] for end in ends})
        reused = sum(len({hold.uid for hold in holds}) > 1 for holds in self.held.by_ip.values())
        self("addresses are given out again", reused > 5, f"{reused} of {len(self.held.by_ip)} addresses to several pods")
        seen, unknown = len(self.held.all()), self.held.unknown
        self("every container's address was seen", seen and not unknown, f"{seen} seen, {unknown} without a pod")
        self("ready again after kills", notes["resumed"], notes["resumed"])
        for what in ("the API server", "lost history"):
            took = notes[f"sees again after {what}"]
            self(f"sees again soon after {what}", len(took) == 3 and max(took.values()) <= SOON, f"after {took} s")
        self("no gap where the watch was resumed", not any(notes["gaps of kills"].values()), notes["gaps of kills"])
        most = max(notes["gaps of the API server"].values())
        self("at most one gap for an API server that was away", most <= 1, notes["gaps of the API server"])
        lost = notes["gaps of lost history"]
        self("exactly one gap of each source for lost history", set(lost.values()) == {1}, lost)
        wrong = [answer for answer in trial.now_answers if not answer[-1]]
        self.none("answers about this moment", wrong, len(trial.now_answers))
        self("SIGTERM ends the trackers cleanly", trial.exits == [0, 0], f"exits {trial.exits}")

    def visible(self):
        """Pods that the trackers must have seen with an address, and those that they may have."""
        shown = {pod.uid: pod for pod in self.said.pods.values() if pod.shown() is not None}
        return {uid: pod for uid, pod in shown.items() if not self.inside_lost(pod.shown(), pod.gone)}, shown

    def lines(self):
        lines = self.plain.lines()
        must, may = self.visible()
        counts = collections.Counter((line["id"], line["event"]) for line in lines)
        expected = [(uid, "Create") for uid in must] + [(uid, "Delete") for uid, pod in must.items() if pod.gone]
        self.none("each pod with an address has its Create and its Delete",
                  [(event, self.said.pods[uid].name, uid) for uid, event in expected if not counts[uid, event]], len(expected))
        self.none("no line is doubled", [key for key, n in counts.items() if n > 1], len(lines))
        alive = {(uid, "Delete") for uid, pod in must.items() if not pod.gone}
        strange = [key for key in counts if key[0] not in may or key in alive]
        self.none("no line is of a pod that was not", strange, len(lines))
        created, early = set(), []
        for line in lines:
            created |= {line["id"]} if line["event"] == "Create" else set()
            early += [line["id"]] if line["id"] not in created else []
        self.none("Create comes before Delete", early, len(lines))
        self.none("lines have PodTracker's keys in order", [list(line) for line in lines if list(line) != KEYS], len(lines))
        agree = {"identity": self.identity, "labels and annotations": self.metadata, "address": self.address, "stamps": self.stamps}
        for name, differs in agree.items():
            known = [line for line in lines if line["id"] in self.said.pods]
            bad = [found for found in (differs(line, self.said.pods[line["id"]]) for line in known) if found]
            self.none(f"lines agree with the API: {name}", bad, len(lines))

    def identity(self, line, pod):
        metadata = pod.last["metadata"]
        want = (metadata["namespace"], metadata["name"], pod.node, self.said.node_addresses(pod.node))
        got = (line["namespace"], line["name"], line["node"], line["nodeIPs"])
        return got != want and (got, want)

    @staticmethod
    def metadata(line, pod):
        for key in ("labels", "annotations"):
            if line[key] not in pod.values("metadata", key):
                return pod.name, key, line[key], pod.values("metadata", key)
        return None

    @staticmethod
    def address(line, pod):
        shown = [ip for ip in pod.values("status", "podIP") if ip]
        want = shown[:1] if line["event"] == "Create" else shown[-1:]
        return line["podIP"] not in want and (pod.name, line["event"], line["podIP"], shown)

    def stamps(self, line, pod):
        created = pod.last["metadata"]["creationTimestamp"].replace("Z", "+0000")
        ends = {"" if end is None else end.replace("Z", "+0000") for end in pod.values("metadata", "deletionTimestamp")}
        if line["event"] == "Create":
            ends = {""} | ends
        elif pod.removed and not self.in_lost(pod.gone, 1):
            ends = {(pod.removed["metadata"].get("deletionTimestamp") or "").replace("Z", "+0000")}
        else:
            ends |= {""}
        good = line["creationTimestamp"] == created and line["deletionTimestamp"] in ends
        return not good and (pod.name, line["event"], line["creationTimestamp"], line["deletionTimestamp"], created, ends)

    def records(self):
        """The second tracker's lines, in our own format."""
        lines = self.full.lines()
        must, _ = self.visible()
        ids = collections.Counter(line["id"] for line in lines)
        self.none("no record is doubled", [key for key, n in ids.items() if n > 1], len(ids))
        events = collections.defaultdict(collections.Counter)
        assigned = collections.defaultdict(list)
        for line in lines:
            if line["event"] != "gap":
                events[line["pod"]["uid"]][line["event"]] += 1
            if line["event"] == "address-assigned":
                assigned[line["pod"]["uid"]].append(line["address"]["ip"])
        bad = [(pod.name, uid, events[uid]) for uid, pod in must.items()
               if events[uid]["created"] != 1 or events[uid]["deleted"] != bool(pod.gone)
               or pod.gone and events[uid]["address-assigned"] != events[uid]["address-released"]]
        self.none("each pod is created and deleted once, and releases what it was assigned", bad, len(must))
        bad = [(pod.name, sorted(assigned[uid]), sorted(pod.ips())) for uid, pod in must.items()
               if not set(assigned[uid]) <= pod.ips() or not self.in_lost(pod.shown(), 30) and set(assigned[uid]) != pod.ips()]
        self.none("each pod is assigned the addresses that the API shows", bad, len(must))
        times = collections.Counter((hold.uid, hold.ip) for hold in self.held.all())
        again = [(self.name(uid), ip, n) for uid in must for ip, n in collections.Counter(assigned[uid]).items() if n > max(1, times[uid, ip])]
        self.none("no address is assigned more often than it was", again, len(must))
        both = [uid for uid in must if len({":" in ip for ip in assigned[uid]}) != 2]
        self.none("of both families", both, len(must))

    def bounds(self):
        """What the ledger says of when, about every address of every container."""
        claims = collections.defaultdict(list)
        for claim in self.plain.history("--cidr", "198.18.16.0/20") + self.plain.history("--cidr", "fd00:18:1::/56"):
            claims[claim["uid"], claim["ip"]].append(claim)
        missing, wrong, holds = [], [], [hold for hold in self.held.all() if hold.since > self.trial.watched_from]
        for hold in holds:
            pod = self.said.pods.get(hold.uid)
            found = claims[hold.uid, hold.ip]
            if not found and pod and hold.ip in pod.ips() and not self.inside_lost(pod.shown() or hold.since, pod.gone):
                missing.append((pod.name, hold))
            if found and not any(covers(claim, hold) for claim in found):
                wrong.append((pod.name if pod else hold.uid, hold, [(claim["start"], claim["end"]) for claim in found]))
        self.none("each address that a container had and the API showed is in the ledger", missing, len(holds))
        self.none("the ledger's bounds hold what really happened", wrong, len(holds))

    def instants(self):
        """(address, time, where in the holding) to ask about: many near changes, where it is hard."""
        rng, low, high = self.rng, self.trial.watched_from + 2, self.trial.watched_to - 4
        for hold in self.held.all():
            before, since, until, after = hold.before or hold.since, hold.since, hold.until, hold.after or hold.until
            times = {"before": before - rng.uniform(0.02, 2), "begins": since + 0.02, "early": since + rng.uniform(0, 1.5),
                     "middle": (since + until) / 2, "somewhere": rng.uniform(since, until), "late": until - rng.uniform(0, 1.5),
                     "ends": until - 0.02, "just after": after + 0.02, "after": after + rng.uniform(0, 4),
                     "long after": after + rng.uniform(4, 15)}
            for where, at in times.items():
                if low <= at <= high:
                    yield hold, at, where

    def answers(self):
        asked = list(self.instants())
        self.rng.shuffle(asked)
        asked = [case for case in asked if self.held.holder(case[0].ip, case[1]) != "changing"]
        untold = [case for case in asked if not self.told(*case[:2])]
        why = "the holder was gone before the API had shown its address, or both fell into lost history"
        print(f"     {len(untold)} of {len(asked)} questions left out: {why}")
        asked = [case for case in asked if case not in untold][: self.trial.options.questions]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            replies = list(pool.map(lambda case: self.rng.choice(self.trial.trackers).who_had(case[0].ip, case[1]), asked))
        kinds, calm, wrong, vague = collections.Counter(), collections.Counter(), [], collections.Counter()
        for (hold, at, where), reply in zip(asked, replies):
            truth, said, named = self.held.holder(hold.ip, at), reply["answer"], {claim["uid"] for claim in reply["claims"]}
            state = "held" if truth else "free"
            kinds[state, said] += 1
            if is_wrong(said, named, truth):
                when = f"{at:.2f} ({where}: {at - hold.since:.2f} after it began, {at - hold.until:.2f} after it ended)"
                wrong.append((self.name(truth or hold.uid), hold.ip, when, said, named, f"truth: {truth}"))
            elif self.held.calm(hold.ip, at, EDGE) and not self.in_lost(at, EDGE):
                exact = said in ("certain", "presumed", "nobody")
                calm[state, "IPv6" if ":" in hold.ip else "IPv4", exact] += 1
                vague[self.name(hold.uid).rstrip("0123456789"), where, said] += not exact
        self.none("who-had is never wrong about the containers' real addresses", wrong, len(asked))
        for state in ("held", "free"):
            print(f"     {state}: " + ", ".join(f"{n} {said}" for (of, said), n in kinds.most_common() if of == state))
        for family in ("IPv4", "IPv6"):
            for state, least in (("held", 0.8), ("free", 0.5)):  # an address that was forced away stays in doubt until it is held again
                exact, doubt = calm[state, family, True], calm[state, family, False]
                good = exact >= least * (exact + doubt) and exact
                self(f"who-had is exact away from changes, {family}, {state}", good, f"{exact} of {exact + doubt}")
        print(f"     vague: {(+vague).most_common(6)}")

    def told(self, hold, at):
        """Whether the API showed the address of whoever had it then, to one who watched as well as the trackers could."""
        pod = self.said.pods.get(self.held.holder(hold.ip, at))
        return pod is None or hold.ip in pod.ips() and not self.inside_lost(pod.held_from(), pod.gone)

    def name(self, uid):
        return self.said.pods[uid].name if uid in self.said.pods else str(uid)

    def node_addresses(self):
        """hostNetwork pods are users of their node's address, which is the node's."""
        questions, bad = [], []
        for hold in self.held.on_hosts:
            pod = self.said.pods.get(hold.uid)
            if not pod or hold.since < self.trial.watched_from or self.inside_lost(hold.since, pod.gone):
                continue
            times = [(hold.since + 0.1, True), ((hold.since + hold.until) / 2, True), (hold.until - 0.1, True)]
            if pod.gone and hold.after and pod.last["status"].get("phase") != "Running":  # one that was forced away stays in doubt
                times.append((max(hold.after, pod.gone) + 3, False))
            for ip in self.said.node_addresses(hold.node)["InternalIP"]:
                questions += [(hold, ip, at, uses) for at, uses in times if at < self.trial.watched_to - 4 and not self.in_lost(at, EDGE)]
        for hold, ip, at, uses in questions:
            reply = self.full.who_had(ip, at)
            owner = [(claim["subject"], claim["name"]) for claim in reply["claims"]]
            sure = reply["answer"] in ("certain", "presumed") and owner == [("node", hold.node)]
            if not sure or uses != (hold.uid in {user["uid"] for user in reply["users"]}):
                when = f"{at - hold.since:.2f} after it began, {at - hold.until:.2f} after it ended"
                bad.append((self.name(hold.uid), ip, when, reply["answer"], owner, f"{'not ' if uses else ''}listed"))
        self.none("hostNetwork pods are listed as users of their node's address", bad, len(questions))

    def history(self):
        lives = [pod.uid for pod in self.said.pods.values() if pod.name == "team-a/db-0" and pod.ips()]
        found = {claim["uid"] for claim in self.plain.history("--pod", "team-a/db-0")}
        all_found = found == set(lives) and len(lives) >= 2
        self("history shows all pods of one name", all_found, f"{len(found)} of {len(lives)} incarnations of team-a/db-0")
        text = self.plain.ask("history", "--pod", "team-a/db-0")
        shown = all(uid in text for uid in lives) and "team-a/db-0" in text
        self("history is a table for people", shown, f"{len(text.splitlines())} lines")
        for name, ledger in (("podtracker", self.plain), ("podtrail", self.full), ("inside", self.trial.inner)):
            done = ledger.ask("verify", ok=False)
            self(f"the ledger verifies ({name})", done.returncode == 0, (done.stdout + done.stderr).strip().splitlines()[-1:])

    def inside(self):
        found = self.trial.inside
        states = [status for pod in found["pods"] for status in pod["status"].get("containerStatuses", ())]
        ready = len(states) == 1 and states[0]["ready"] and not states[0]["restartCount"]
        self("the tracker in the cluster is ready", ready, [(state["ready"], f"{state['restartCount']} restarts") for state in states])
        spec = found["pods"][0]["spec"] if found["pods"] else {}
        self("it runs as nobody in particular", spec.get("securityContext", {}).get("runAsUser") == 65532, spec.get("securityContext"))
        lines = found["lines"]
        ours = {line["id"]: line for line in self.full.lines() if line["event"] not in ("gap",)}
        theirs = {line["id"]: line for line in lines if line["event"] != "gap"}
        about = lambda line: (line["pod"]["uid"], line["event"], line.get("address"))  # noqa: E731
        differ = [about(ours[i]) for i in ours.keys() & theirs.keys() if about(ours[i]) != about(theirs[i])]
        unseen = [(seconds(line["from"]), seconds(line["to"])) for line in lines if line["event"] == "gap"]
        missing = []
        for i, line in ours.items():
            pod = self.said.pods.get(line["pod"]["uid"])
            if pod and pod.shown() and pod.gone and line["event"] in ("created", "deleted") and i not in theirs:
                missing += [] if any(start <= pod.shown() and pod.gone <= end for start, end in unseen) else [(pod.name, line["event"])]
        self.none("it writes the same events with the same ids", differ + missing, len(theirs))
        may = found["may"]
        self("its account may read pods and nodes, and get a namespace", all(may[key] for key in MAY), f"{sum(may[key] for key in MAY)} of {len(MAY)}")
        self.none("its account may do nothing else", [key for key in MAY_NOT if may[key]], len(MAY_NOT))

    def audit(self):
        counts, bad = collections.Counter(), []
        with open(f"{self.trial.home}/audit") as file:
            for line in file:
                event = json.loads(line)
                if event["user"]["username"] == ACCOUNT and event["stage"] == "ResponseComplete":
                    counts[event["verb"]] += 1
                    # An API server that has just started refuses everything, until it has read its roles.
                    refused = event.get("responseStatus", {}).get("code") == 403 and not self.in_lost(seconds(event["requestReceivedTimestamp"]))
                    if event["verb"] not in ("get", "list", "watch") or refused:
                        bad.append((event["verb"], event["requestURI"]))
        self("trackers only read, and are refused nothing", not bad and counts["get"] and counts["watch"], f"{dict(counts)} {bad[:3]}")


def is_wrong(said, named, truth):
    if said in ("certain", "presumed"):
        return named != {truth}
    if said == "nobody":
        return truth is not None
    return said == "ambiguous" and truth is not None and truth not in named


def covers(claim, hold):
    """Whether a claim's bounds leave room for what was seen of the container."""
    begin, end = claim["start"], claim["end"]
    if seconds(begin["earliest"]) > hold.since or begin["latest"] and hold.before and seconds(begin["latest"]) < hold.before:
        return False
    if end is None:
        return hold.after is None
    return (hold.after is None or seconds(end["earliest"]) <= hold.after) and (end["latest"] is None or seconds(end["latest"]) >= hold.until)
