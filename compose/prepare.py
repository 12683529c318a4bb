"""Make the files that the containers of a development world mount. `compose.world` runs it in one of them, as root.

    python -m compose.prepare DIR

Below DIR: for each data centre `config/` (shared pair files, node files, certificates), `secrets/GROUP` (PINs, a TLS
key) and `journals/GROUP`, as compose/dc.yaml mounts them; `world/` for hub and processor. Each payment group has a
partition of its own on each HSM, with PINs and a seal key of its own, and a certificate of its own. The tokens are made
at `HSM/GROUP`, where they are in the gateways, too, since SoftHSM's configuration has its path in it. For development
only: in production these files come from a ceremony (hsm/README.md), a certificate authority, and people.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("compose.prepare"))

import datetime as dt
import os
import shutil
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.machine import harmless

GROUPS = ("sip", "sop", "fdp", "other", "usm")
USERS = {"sip": 861, "sop": 862, "fdp": 863, "other": 864, "usm": 865}
"""The user of each group's gateway, as in systemd/sysusers.conf: none can read, or stop, what is another's."""
SITES = ("a", "b")
HSM = Path("/var/lib/fps-hsm")
OWNER = 860
"""The user of the images, and the group of all gateways: what they share, they may read."""
WATCHER = 65534
"""The user of Prometheus."""
SOCKET = "/tmp/acts.sock"  # noqa: S108 - of the container, in memory, and the kernel says who comes
"""Where a gateway takes acts, in its container."""
TOKENS = 4
"""HSMs: two at each site. A gateway uses its own site's first, and any one is enough."""
HUB_CONTROL, PROCESSOR_CONTROL, PROCESSOR = 9400, 8081, 8443
VALID = dt.timedelta(days=30)
KEYS_FILE = "DEVELOPMENT-ONLY-keys.json"


def hub_port(group: str, data_centre: str, hub_site: str) -> int:
    """The port at which this site of the hub accepts this gateway."""
    return 9500 + 10 * GROUPS.index(group) + 2 * SITES.index(data_centre) + SITES.index(hub_site)


def door(group: str, data_centre: str) -> int:
    """The number of this gateway in orders to the processor."""
    return 2 * GROUPS.index(group) + SITES.index(data_centre) + 1


class Authority:
    """A certificate authority that exists only as long as this process."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fps development")])
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            self._begin(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, *names: str) -> tuple[bytes, bytes]:
        """A certificate for these names, as server and client, and its key; both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = (
            self._begin(subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .add_extension(purposes, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM), private

    def _begin(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + VALID)
        )


def main(arguments: list[str]) -> int:
    """Make all files. Refuses a directory that is not empty."""
    if len(arguments) != 1:
        print("usage: python -m compose.prepare DIR", file=sys.stderr)
        return 2
    top = Path(arguments[0])
    if (top / "world").exists():
        print(f"prepare: {harmless.line(top)} holds a world already", file=sys.stderr)
        return 2
    for group in GROUPS:
        if code := _partitions(group):
            return code
    authority = Authority()
    for data_centre in SITES:
        _data_centre(top / f"dc-{data_centre}", data_centre, authority)
    _world(top / "world", authority)
    _hand_over(top, OWNER)
    for group, user in USERS.items():
        shutil.rmtree(HSM / group / "pins")
        _hand_over(HSM / group, user)
        for place in top.glob(f"dc-*/*/{group}"):
            _hand_over(place, user)
    for place in top.glob("dc-*/secrets/prometheus"):
        _hand_over(place, WATCHER)
    return 0


def _partitions(group: str) -> int:
    """Make a group's partitions, one on each HSM, and return the exit code. All groups have the scheme's keys: the mock
    scheme has one set for a bank.
    """
    first = HSM / GROUPS[0] / KEYS_FILE
    same = ["--scheme-keys-from", str(first)] if group != GROUPS[0] else []
    made = subprocess.run(  # noqa: S603 - our own
        [
            sys.executable, "-P", "-m", "hsm", "provision", "--dir", str(HSM / group), "--prefix", group,
            "--tokens", str(TOKENS), *same,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(made.stderr, file=sys.stderr, end="")
    return made.returncode


def _hand_over(place: Path, user: int) -> None:
    for path in (place, *place.rglob("*")):
        os.chown(path, user, user)


def _data_centre(place: Path, data_centre: str, authority: Authority) -> None:
    config = place / "config"
    config.mkdir(parents=True)
    (config / "ca.pem").write_bytes(authority.pem)
    (place / "reports").mkdir()
    for group in GROUPS:
        (config / f"pair-{group}.toml").write_text(pair_file(group), encoding="utf-8")
        (config / f"{group}.toml").write_text(node_file(group, data_centre), encoding="utf-8")
        (place / "journals" / group / "journal").mkdir(parents=True)
        secrets = place / "secrets" / group
        secrets.mkdir(mode=0o700, parents=True)
        certificate, key = authority.issue(f"{group}.dc-{data_centre}", f"{group}-ops", "localhost")
        (config / f"{group}.pem").write_bytes(certificate)
        _secret(secrets / "tls-key", key)
        for number in range(1, TOKENS + 1):
            _secret(secrets / f"pin-{number}", (HSM / group / "pins" / f"{group}-{number}.pin").read_bytes())
    watcher = place / "secrets" / "prometheus"
    watcher.mkdir(mode=0o700)
    certificate, key = authority.issue(f"prometheus.dc-{data_centre}")
    (config / "prometheus.pem").write_bytes(certificate)
    _secret(watcher / "tls-key", key)


def _world(place: Path, authority: Authority) -> None:
    (place / "books").mkdir(parents=True)
    certificate, key = authority.issue("processor", "localhost")
    (place / "processor.pem").write_bytes(certificate)
    (place / "ca.pem").write_bytes(authority.pem)
    _secret(place / "processor.key", key)
    _secret(place / "keys.json", (HSM / GROUPS[0] / KEYS_FILE).read_bytes())
    for group in GROUPS:
        (HSM / group / KEYS_FILE).unlink()
    (place / "participants.toml").write_text(participants_file(), encoding="utf-8")


def _secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
    path.chmod(0o400)


def pair_file(group: str) -> str:
    """The settings that both sites share."""
    return f"""# What both sites share: the same file at each (its fingerprint is in /ready).
[pair]
group = "{group}"
"""


def node_file(group: str, data_centre: str) -> str:
    """The settings of this gateway."""
    hubs = "".join(
        f'[[node.hub]]\nname = "{site}"\nhost = "hub-{site}"\nport = {hub_port(group, data_centre, site)}\n'
        "reconnect_max_s = 2.0\n\n"
        for site in SITES
    )
    module = "/usr/lib/softhsm/libsofthsm2.so"
    own = {"a": (1, 2), "b": (3, 4)}[data_centre]
    tokens = "".join(
        f'[[node.token]]\nname = "hsm-{number}"\nlabel = "{group}-{number}"\nmodule = "{module}"\n'
        f'pin_file = "/run/secrets/pin-{number}"\nlocal = {str(number in own).lower()}\n'
        f'environment = {{ SOFTHSM2_CONF = "{HSM}/{group}/softhsm2.conf" }}\n\n'
        for number in range(1, TOKENS + 1)
    )
    files = f'certificate_file = "/etc/fps-gateway/{group}.pem"\nkey_file = "/run/secrets/tls-key"\n'
    tls = f'ca_file = "/etc/fps-gateway/ca.pem"\n{files}'
    other = {"a": "b", "b": "a"}[data_centre]
    named = "".join(f'{peer}-{data_centre} = "https://{peer}-ops:9200"\n' for peer in GROUPS if peer != "usm")
    peers = f"[node.peers]\n{named}\n[node.peer_tls]\n{tls}\n" if group == "usm" else ""
    return f"""# What is this gateway's own.
[node]
name = "{group}-{data_centre}"

{hubs}{tokens}[node.journal]
dir = "/var/lib/fps-gateway/journal"
# in a world that is thrown away; for a bank's own it is begun once, by "fps-gateway journal init"
begin_if_none = true
segment_bytes = 4194304

[node.processor]
url = "https://processor:{PROCESSOR}"

[node.processor.tls]
{tls}
[node.submissions]
host = "0.0.0.0"

[node.submissions.tls]
# who else has a certificate may look at /ready, as the other site does
{tls}client_name = "processor"

[node.sibling]
url = "https://{group}.dc-{other}:9300"

[node.sibling.tls]
{tls}
{peers}[node.ops]
# its name in the inner network only: the outer one does not reach the ops port
host = "{group}-ops"

[node.ops.tls]
{tls}
[node.acts]
socket = "{SOCKET}"

{actors(group, data_centre)}[node.log]
format = "json"
"""


def actors(group: str, data_centre: str) -> str:
    """Who may look and act: whoever may run a command in the container, the watcher, and the process with the news."""
    found = [("on-call", f'user = "{USERS[group]}"', "operate"),
             ("prometheus", f'certificate = "prometheus.dc-{data_centre}"', "look")]  # fmt: skip
    if group != "usm":
        found.append((f"usm-{data_centre}", f'certificate = "usm.dc-{data_centre}"', "peer"))
    return "".join(f'[[node.actors]]\nname = "{name}"\n{by}\nroles = ["{role}"]\n\n' for name, by, role in found)


def participants_file() -> str:
    """The participants of the mock scheme."""
    nodes = [(group, data_centre) for group in GROUPS for data_centre in SITES]
    named = "".join(f'{group}-{data_centre} = "{group}"\n' for group, data_centre in nodes)
    ports = "".join(
        f"[participant.ports.{group}-{data_centre}]\n"
        + "".join(f"{site} = {hub_port(group, data_centre, site)}\n" for site in SITES)
        for group, data_centre in nodes
    )
    groups = ", ".join(f'"{group}"' for group in GROUPS)
    return f"""[[participant]]
name = "alpha"
institution = "600002"
sort_codes = ["60"]
keys = "keys.json"
groups = [{groups}]
[participant.nodes]
{named}{ports}
[[bank]]
name = "bank"
institution = "400001"
sort_codes = ["40"]
"""
