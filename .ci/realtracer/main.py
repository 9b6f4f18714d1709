"""The trials of the tracer on a real cluster, which runs already: see `.ci/tracer`."""

import argparse
import signal
import sys

from stage import SERVES, Stage

import conformance
import inside
import inspected
import packets
import replaced
import tools

PARTS = {part.__name__: part.judge for part in (conformance, tools, packets, inspected, inside, replaced)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--testbed", required=True)
    parser.add_argument("--binary", required=True, help="the tracer")
    parser.add_argument("--tracker", required=True)
    parser.add_argument("--manifests", required=True)
    parser.add_argument("--home", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("parts", nargs="*", default=PARTS, help=", ".join(PARTS))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    stage = Stage(options)
    try:
        for name, node in (("web-1", "node1"), ("web-2", "node1"), ("web-3", "node2")):
            stage.create(name, SERVES, node=node, labels={"app": "web", "n": name[-1]})
        for part in options.parts:
            stage.say(part)
            PARTS[part](stage)
    finally:
        stage.processes.end()
    print(f"{stage.verdict.passed} passed, {stage.verdict.failed} failed")
    return 1 if stage.verdict.failed else 0


if __name__ == "__main__":
    sys.exit(main())
