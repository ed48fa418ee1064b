"""What a command of rbp and its worker leave out."""

import pkgutil

from tests.real import warm_python


def leave_out(*what):
    """Functions ("module.name"), or the calls of one with a path, or a folder, of that name ("module.name x.tmp")."""
    for one in what:
        name, _, path_name = one.partition(" ")
        owner, _, function = name.rpartition(".")
        setattr(pkgutil.resolve_name(owner), function, _instead(pkgutil.resolve_name(name), path_name))
    warm_python.fork_here()


def _instead(real, path_name):
    def instead(*arguments):
        path = getattr(arguments[0], "path", arguments[0])
        return real(*arguments) if path_name and path.name != path_name else None

    return instead
