"""`rbp` without the seconds that it takes to import torch: each line of stdin is a command, run by a child process.

A line is JSON: `words` of the command line, and `without`, what the command and its worker leave out: functions
("module.name"), or the calls of one with a path, or a folder, of that name ("module.name best.tmp"). The exit code and
the output come back as JSON. The worker is also a fork, but otherwise as `launch.start` makes it.
"""

import json
import os
import pkgutil
import sys
import tempfile
import traceback

import torch

from rbp_engine import evaluation  # noqa: F401
from rbp_engine.train import attempt, worker  # noqa: F401  # what commands import when they are called
from rbp_tui.cli import main
from rbp_tui.cli.train import following  # noqa: F401
from tests.real import warm_python


def leave_out(name, path_name=""):
    owner, function = name.rsplit(".", 1)
    real = getattr(pkgutil.resolve_name(owner), function)

    def instead(*arguments):
        path = getattr(arguments[0], "path", arguments[0])
        return real(*arguments) if path_name and path.name != path_name else None

    setattr(pkgutil.resolve_name(owner), function, instead)


def run(words, without, output):
    os.dup2(output, 1)
    os.dup2(output, 2)
    for what in without:
        leave_out(*what.split())
    warm_python.fork_here()
    sys.argv = ["rbp", *words]
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)  # imports a lot
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if child == 0:
                run(asked["words"], asked["without"], output.fileno())
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            output.seek(0)
            print(json.dumps({"code": code, "output": output.read().decode(errors="replace")}), flush=True)
