"""The trial on a real cluster, which runs already: see `.ci/cluster`."""

import argparse
import signal
import sys

from judge import Judge
from trial import Trial


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--testbed", required=True)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--manifests", required=True)
    parser.add_argument("--home", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--questions", type=int, default=1500)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    trial = Trial(options)
    try:
        trial.run()
    finally:
        trial.processes.end()
    trial.say("judging")
    judge = Judge(trial)
    judge.all()
    print(f"{judge.passed} passed, {judge.failed} failed")
    return 1 if judge.failed else 0


if __name__ == "__main__":
    sys.exit(main())
