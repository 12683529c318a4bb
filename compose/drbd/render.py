#!/usr/bin/env python3
"""Make the DRBD resource files of one data centre: `./render.py servers.toml SECRET_FILE DIRECTORY`.

One template (`fps.res.in`), one file for each payment group, the same on all servers, readable by root only. It needs
the standard library alone, so that it runs on a server with nothing but Python. Ctrl-C ends it quietly with 130, as it
ends the gateway's commands; a file that was begun by then does not take its place.
"""

import ipaddress
import os
import re
import sys
import tomllib
from pathlib import Path
from string import Template

HERE = Path(__file__).parent
PORT = 7700
"""The port of a resource is this plus its minor."""
SECRET = re.compile(r"[A-Za-z0-9+/=_-]{16,64}")
"""DRBD takes at most 64 characters. Others than these could mean something else in its configuration."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def checked(settings: dict[str, dict[str, object]]) -> list[str]:
    """Return every mistake in the settings."""
    servers, groups = settings.get("servers", {}), settings.get("groups", {})
    wrong = [f"{name}: no such table" for name in settings if name not in {"servers", "groups"}]
    wrong += [f"{name} is no host name or group" for name in (*servers, *groups) if not NAME.fullmatch(name)]
    if len(servers) != 3:
        wrong.append(f"{len(servers)} servers: a majority that survives the loss of one needs three")
    for name, address in servers.items():
        try:
            ipaddress.IPv4Address(address)
        except ValueError:
            wrong.append(f"{name}: {address} is no IPv4 address")
    if len(set(servers.values())) < len(servers):
        wrong.append("two servers have the same address")
    for group, minor in groups.items():
        if not isinstance(minor, int) or not 1 <= minor <= 255:
            wrong.append(f"{group}: a minor is a number from 1 to 255")
    if len(set(groups.values())) < len(groups):
        wrong.append("two groups have the same minor")
    return wrong


def resource(servers: dict[str, str], group: str, minor: int, secret: str) -> str:
    """The resource file of one group."""
    hosts = "".join(
        f"    on {name} {{\n        node-id {number};\n        address {address}:{PORT + minor};\n    }}\n\n"
        for number, (name, address) in enumerate(servers.items())
    )
    text = Template((HERE / "fps.res.in").read_text(encoding="utf-8"))
    hosts = hosts.rstrip("\n") + "\n"
    return text.substitute(group=group, minor=minor, secret=secret, hosts=hosts, names=" ".join(servers))


def main(arguments: list[str]) -> int:
    """Write the files; returns the exit code."""
    if len(arguments) != 3:
        sys.stderr.write(f"usage: {Path(__file__).name} SERVERS.toml SECRET_FILE DIRECTORY\n")
        return 2
    try:
        settings = tomllib.loads(Path(arguments[0]).read_text(encoding="utf-8-sig"))
        secret = Path(arguments[1]).read_text(encoding="utf-8-sig", errors="replace").strip()
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 1
    except ValueError as error:  # no TOML, or not in UTF-8
        sys.stderr.write(f"{arguments[0]}: {error}\n")
        return 1
    wrong = checked(settings)
    if not SECRET.fullmatch(secret):
        wrong.append("the secret must be 16 to 64 letters, digits or + / = _ -")
    if wrong:
        sys.stderr.write("".join(f"{arguments[0]}: {what}\n" for what in wrong))
        return 1
    for group, minor in settings["groups"].items():
        path = Path(arguments[2]) / f"fps-{group}.res"
        beside = path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(resource(settings["servers"], group, minor, secret))
        beside.replace(path)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
