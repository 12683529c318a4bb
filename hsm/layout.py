"""The files in a directory of development tokens, and the keys in the tokens."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Keys, Mac, Token
from gateway.errors import Refusal
from gateway.signer.mechanisms import LEFT

KEYS_FILE = "DEVELOPMENT-ONLY-keys.json"
"""Label → value in hex. It exists so that a mock hub can hold the other end of the keys; no production site has one."""
KEY_BYTES = {"aes-cmac": 16, "hmac-sha256": 32, "des3-retail": 16}
"""Lengths of the values: AES-128, the length of the digest, and two-key triple DES."""
TRANSPORT_BYTES = 32
"""AES-256: no weaker than any key that it wraps."""
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
"""Where packages put the SoftHSM module."""


@dataclass(frozen=True)
class Layout:
    """A directory of tokens."""

    dir: Path
    module: str
    tokens: int
    remote: int
    """How many of the tokens, the last ones, stand for those of the other data centre."""
    prefix: str
    mac: Mac
    transport_key: str = Keys().transport_key

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the MAC keys, each once."""
        return tuple(dict.fromkeys([self.mac.hub_key, self.mac.own_key, self.mac.seal_key]))

    @property
    def lengths(self) -> dict[str, int]:
        """The length of every key's value, by label."""
        return {**dict.fromkeys(self.labels, KEY_BYTES[self.mac.algorithm]), self.transport_key: TRANSPORT_BYTES}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tokens, which are their labels, too."""
        return tuple(f"{self.prefix}-{number}" for number in range(1, self.tokens + 1))

    @property
    def conf(self) -> Path:
        """SoftHSM's configuration file."""
        return self.dir / "softhsm2.conf"

    @property
    def ignore(self) -> Path:
        """The file that keeps the directory out of git."""
        return self.dir / ".gitignore"

    @property
    def token_dir(self) -> Path:
        """Where SoftHSM keeps its tokens."""
        return self.dir / "tokens"

    @property
    def keys_file(self) -> Path:
        """The development key file."""
        return self.dir / KEYS_FILE

    def pin_file(self, name: str, role: str = "pin") -> Path:
        """The PIN of a token; `role` "so-pin" for the security officer's."""
        return self.dir / "pins" / f"{name}.{role}"

    def conf_text(self) -> str:
        """The SoftHSM configuration."""
        return (
            f"directories.tokendir = {self.token_dir}\n"
            "objectstore.backend = file\n"
            "log.level = ERROR\n"
            "slots.removable = false\n"
        )

    def settings(self) -> tuple[Token, ...]:
        """The tokens as the gateway's configuration has them."""
        return tuple(
            Token(
                name=name,
                label=name,
                module=self.module,
                pin_file=str(self.pin_file(name)),
                local=number < self.tokens - self.remote,
                environment={"SOFTHSM2_CONF": str(self.conf)},
            )
            for number, name in enumerate(self.names)
        )

    def snippet(self) -> str:
        """The same as TOML, ready for the configuration file."""
        tables = []
        for token in self.settings():
            lines = [f"{key} = {json.dumps(getattr(token, key))}" for key in ("name", "label", "module", "pin_file")]
            if not token.local:
                lines.append("local = false")
            lines.append(f"environment = {{ SOFTHSM2_CONF = {json.dumps(str(self.conf))} }}")
            tables.append("\n".join(["[[node.token]]", *lines]))
        return "\n\n".join(tables) + "\n"

    def parts(self, values: dict[str, bytes]) -> dict[str, bytes]:
        """The keys as tokens hold them: for the retail MAC also the left half (see `gateway.signer.mechanisms`)."""
        if self.mac.algorithm != "des3-retail":
            return values
        halves = {label + LEFT: value[:8] * 3 for label, value in values.items()}
        return {**{label: value + value[:8] for label, value in values.items()}, **halves}


def find_module() -> str:
    """The SoftHSM module of this machine. Raises `Refusal` when there is none."""
    wanted = os.environ.get("SOFTHSM2_MODULE")
    for path in [wanted] if wanted else MODULES:
        if Path(path).is_file():
            return path
    where = wanted or ", ".join(MODULES)
    raise Refusal(
        f"no SoftHSM module at {where}: install softhsm2 (Debian: apt-get install softhsm2), or say where it is "
        "(--module, or SOFTHSM2_MODULE)"
    )
