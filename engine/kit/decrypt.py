#!/usr/bin/env python3
"""Opens backups of OffsiteDB console with the recovery code alone. One file; needs Python 3.11 and `cryptography` 50.

    python3 decrypt.py --list FOLDER                 what lies in a folder
    python3 decrypt.py BACKUP.odb -o restored.dump   the archive for pg_restore
    python3 decrypt.py --manifest BACKUP.manifest.json
    python3 decrypt.py --keys RECOVERY/ID.keys       connection strings and storage keys, in clear

It asks for the code and shows nothing of it. It follows ARTIFACT.md, which lies beside it, and refuses whatever that
page tells a reader to refuse: a file that it wrote is, byte for byte, what pg_dump wrote. It never changes a backup.
"""

import argparse
import base64
import binascii
import contextlib
import getpass
import hashlib
import hmac
import json
import os
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

try:
    from cryptography.exceptions import InvalidSignature, InvalidTag
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA384
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
except ImportError:
    sys.exit("decrypt.py: it needs the Python package cryptography, 50 or newer: pip install 'cryptography>=50'")

if sys.version_info < (3, 11):  # noqa: UP036 - the one file that meets a Python that nobody chose
    sys.exit("decrypt.py: it needs Python 3.11 or newer")

SEG = 1 << 20
HEADER_KEYS = {"artifact_id", "catalog_id", "comp", "connection_id", "created_at", "dump", "recipients", "seg", "v"}
MANIFEST_KEYS = {"v", "artifact_id", "catalog_id", "connection_id", "seq", "created_at", "object_key"} | {
    "artifact_sha256", "size_bytes", "previous_manifest_sha256", "sealed", "signer"
}  # fmt: skip
RECOVERY = "hpke-mlkem768x25519"
MAX_ARTIFACT = 48 << 40
ID = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z-]{0,62}[0-9A-Za-z])?")
HEX = {n: re.compile(rf"[0-9a-f]{{{n}}}") for n in (16, 32, 64)}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)
CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


class Refused(Exception):
    """What was read is not to be believed, or cannot be opened. ``code`` as in the program itself."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code


def refuse(code: str, message: str) -> NoReturn:
    raise Refused(code, message)


# -- texts and keys


def bind(*parts: str) -> bytes:
    return b"".join(len(p.encode()).to_bytes(4, "big") + p.encode() for p in parts)


def from_base64url(text: str) -> bytes:
    """The bytes of base64url without padding, in their one spelling. Raises ValueError."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeError) as e:
        raise ValueError("not base64url") from e
    if "=" in text or base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("not base64url as it is written")
    return raw


def bech32m(hrp: str, text: str) -> bytes:
    """The data of a Bech32m text, however it is grouped. Raises Refused; never quotes the text."""
    text = re.sub(r"[\s\u2010-\u2015-]", "", text).lower()
    values = [CHARSET.find(c) for c in text[len(hrp) + 1 :]]
    if not text.startswith(hrp + "1"):
        refuse("key.recovery-code", f"the code does not begin with {hrp}1")
    if -1 in values or len(values) < 6:
        refuse("key.recovery-code", "the code is too short, or has a character that no code has")
    check = 1
    for value in [*(ord(c) >> 5 for c in hrp), 0, *(ord(c) & 31 for c in hrp), *values]:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, part in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= part if top >> bit & 1 else 0
    number, bits = 0, 5 * (len(values) - 6)
    for value in values[:-6]:
        number = number << 5 | value
    if check != 0x2BC830A3 or bits // 8 != 32 or number & ((1 << bits % 8) - 1):
        refuse("key.recovery-code", "the code has a typing error: its checksum does not hold")
    return (number >> bits % 8).to_bytes(32, "big")


class Code:
    """The recovery code: a key pair for HPKE. ``kid`` names its public half."""

    def __init__(self, text: str) -> None:
        seed = hashlib.shake_256(bech32m("odbr", text)).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(seed[:64])
        x25519 = X25519PrivateKey.from_private_bytes(seed[64:])
        public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        self.kid = hashlib.sha256(public).digest()[:8].hex()
        self._key = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)

    def open(self, info: bytes, sealed: bytes) -> bytes:
        suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        try:
            return suite.decrypt(sealed, self._key, info)
        except (InvalidTag, ValueError):
            refuse("format.header", "what was sealed to the recovery code was altered or moved")

    def fits(self, kid: str, what: str) -> None:
        if kid != self.kid:
            refuse("format.wrong-key", f"{what} is for the recovery code k-{kid}, and this one is k-{self.kid}")


def expand(key: bytes, info: bytes, length: int) -> bytes:
    return HKDFExpand(SHA384(), length, info).derive(key)


# -- FLOE


class Floe:
    """Opens one stream; ``update`` gives the plaintext of whole segments whose tag holds."""

    def __init__(self, key: bytes, aad: bytes, header: bytes) -> None:
        if len(header) != 74:
            refuse("format.truncated", "the file ends inside the header of its sealed stream")
        if header[:10] != b"\0\0" + SEG.to_bytes(4, "big") + (32).to_bytes(4, "big"):
            refuse("format.header", "the sealed stream has other parameters than version 1 has")
        self._context, self._aad = header[:42], aad
        if not hmac.compare_digest(header[42:], self._kdf(key, b"HEADER_TAG:", 32)):
            refuse("format.header", "key and file do not belong together, or the header was altered")
        self._message_key = self._kdf(key, b"MESSAGE_KEY:", 48)
        self._held, self._index, self.finished = bytearray(), 0, False

    def _kdf(self, key: bytes, purpose: bytes, length: int) -> bytes:
        return expand(key, self._context + purpose + self._aad, length)

    def update(self, data: bytes) -> Iterator[bytes]:
        if data and self.finished:
            refuse("format.trailing", "something follows the end of the sealed stream")
        self._held += data
        while len(self._held) >= 4:
            word = int.from_bytes(self._held[:4], "big")
            final, length = word != 0xFFFFFFFF, SEG if word == 0xFFFFFFFF else word
            if not 32 <= length <= SEG:
                refuse("format.corrupt-segment", f"segment {self._index} was altered")
            if len(self._held) < length:
                return
            yield self._open(bytes(self._held[:length]), final)
            del self._held[:length]
            if final and self._held:
                refuse("format.trailing", "something follows the end of the sealed stream")
            self.finished = final
        if self.finished and self._held:
            refuse("format.trailing", "something follows the end of the sealed stream")

    def _open(self, sealed: bytes, final: bool) -> bytes:
        if self._index >> 40:
            refuse("format.corrupt-segment", "the sealed stream has too many segments")
        if not self._index & 0xFFFFF:
            first = self._index.to_bytes(8, "big")
            self._cipher = AESGCM(self._kdf(self._message_key, b"DEK:" + first, 32))
        aad = self._index.to_bytes(8, "big") + bytes([final])
        try:
            plain = self._cipher.decrypt(sealed[4:16], sealed[16:], aad)
        except InvalidTag:
            refuse("format.corrupt-segment", f"segment {self._index} was altered, moved or cut")
        self._index += 1
        return plain

    def finish(self) -> None:
        if not self.finished:
            refuse("format.truncated", f"the file ends inside segment {self._index}: a part of it is missing")


def open_floe(key: bytes, aad: bytes, sealed: bytes) -> bytes:
    stream = Floe(key, aad, sealed[:74])
    plain = b"".join(stream.update(sealed[74:]))
    stream.finish()
    return plain


# -- the artifact


@dataclass
class Header:
    artifact_id: str
    catalog_id: str
    connection_id: str
    created_at: str
    recipients: list[dict[str, str]]
    preamble: bytes


def exactly(source: BinaryIO, size: int, seen: Callable[[bytes], object]) -> bytes:
    data = b""
    while len(data) < size:
        more = source.read(size - len(data))
        if not more:
            refuse("format.truncated", "the file ends inside its header")
        data += more
    seen(data)
    return data


def strict_json(raw: bytes, what: str, code: str) -> Any:
    """JSON as RFC 8785 writes it, for what our documents hold: texts and whole numbers."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({k for k, _ in pairs}) != len(pairs):
            raise ValueError("duplicate key")
        return dict(pairs)

    def no_float(text: str) -> NoReturn:
        raise ValueError(f"not a whole number: {text}")

    try:
        plain = json.loads(raw.decode(), object_pairs_hook=unique, parse_float=no_float, parse_constant=no_float)
        again = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        refuse(code, f"{what} is damaged")
    if again != raw:
        refuse(code, f"{what} is not in the form in which it is written")
    return plain


def read_header(source: BinaryIO, seen: Callable[[bytes], object] = lambda _: None) -> Header:
    prefix = exactly(source, 12, seen)
    if not prefix.startswith(b"ODBART"):
        refuse("format.header", "this is not a backup of OffsiteDB: it begins with something else")
    if prefix[6:8] != b"01":
        code = "format.version" if prefix[6:8].isdigit() else "format.header"
        refuse(code, "the backup has another version than 1: use the decrypt.py that lies beside it")
    length = int.from_bytes(prefix[8:], "big")
    if not 1 <= length <= 65_536:
        refuse("format.header", "the header has an impossible length")
    raw = exactly(source, length, seen)
    if not raw.isascii():
        refuse("format.header", "the header is damaged")
    plain = strict_json(raw, "the header", "format.header")
    version = plain.get("v") if isinstance(plain, dict) else None
    if type(version) is int and version > 1:
        refuse("format.version", f"the backup has version {version}: use the decrypt.py that lies beside it")
    if not isinstance(plain, dict) or plain.keys() != HEADER_KEYS or not _header_holds(plain):
        refuse("format.header", "the header is damaged: it does not say what a header says")
    given = {k: plain[k] for k in ("artifact_id", "catalog_id", "connection_id", "created_at", "recipients")}
    return Header(**given, preamble=prefix + raw)


def _header_holds(plain: dict[str, Any]) -> bool:
    def text(value: object, form: re.Pattern[str]) -> bool:
        return isinstance(value, str) and form.fullmatch(value) is not None

    recipients = plain["recipients"]
    if not isinstance(recipients, list) or not 1 <= len(recipients) <= 16:
        return False
    for one in recipients:
        if not isinstance(one, dict) or one.keys() != {"t", "kid", "ct"} or one["t"] not in ("master", RECOVERY):
            return False
        if not text(one["kid"], HEX[16]) or not isinstance(one["ct"], str) or not 1 <= len(one["ct"]) <= 4096:
            return False
        try:
            from_base64url(one["ct"])
        except ValueError:
            return False
    return (
        type(plain["v"]) is int
        and plain["v"] == 1
        and type(plain["seg"]) is int
        and plain["seg"] == SEG
        and (plain["comp"], plain["dump"]) == ("gzip", "pg_dump-Fc")
        and text(plain["artifact_id"], HEX[32])
        and text(plain["catalog_id"], ID)
        and text(plain["connection_id"], ID)
        and text(plain["created_at"], INSTANT)
        and len({(r["t"], r["kid"]) for r in recipients}) == len(recipients)
    )


def data_key(header: Header, code: Code) -> bytes:
    ours = [r for r in header.recipients if r["t"] == RECOVERY]
    for one in ours:
        if one["kid"] == code.kid:
            info = bind("odb/v1/dek", code.kid, header.artifact_id, header.connection_id)
            dek = code.open(info, from_base64url(one["ct"]))
            return dek if len(dek) == 32 else refuse("format.header", "the data key has another length")
    kids = " and ".join("k-" + r["kid"] for r in ours) or "no code at all"
    refuse("format.wrong-key", f"the backup is for the recovery code {kids}, and this one is k-{code.kid}")


class Gunzip:
    """A row of whole gzip members, at most ``most`` bytes (None: any number). Knows the digests of the plaintext."""

    def __init__(self, most: int | None) -> None:
        self._most, self._member, self._members, self.size = most, zlib.decompressobj(31), 0, 0
        self._begun, self._crc, self._length = False, 0, 0
        self.sha256, self.members_sha256 = hashlib.sha256(), hashlib.sha256()

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            plain = self._step(data)
            data = self._member.unconsumed_tail
            yield plain
            while not data and len(plain) == SEG and not self._member.eof:
                yield (plain := self._step(b""))
            if self._member.eof:
                data = self._member.unused_data
                stated = self._crc.to_bytes(4, "little") + (self._length & 0xFFFFFFFF).to_bytes(4, "little")
                self.members_sha256.update(stated)
                self._member, self._begun, self._crc, self._length = zlib.decompressobj(31), False, 0, 0
                self._members += 1

    def _step(self, data: bytes) -> bytes:
        try:
            plain = self._member.decompress(data, SEG)
        except zlib.error:
            refuse("format.gzip", "the compressed content is damaged")
        self._begun, self._crc = True, zlib.crc32(plain, self._crc)
        self._length += len(plain)
        self.size += len(plain)
        self.sha256.update(plain)
        if self._most is not None and self.size > self._most:
            refuse("format.gzip", f"the content is longer than the {self._most} bytes that were recorded")
        return plain

    def finish(self) -> None:
        if self._begun or not self._members:
            refuse("format.gzip", "the compressed content ends in the middle")

    def is_what(self, known: dict[str, Any]) -> bool:
        """Whether it was the content that the sealed part of a manifest describes; older ones have another digest."""
        digests = [(self.members_sha256, known.get("members_sha256")), (self.sha256, known.get("plaintext_sha256"))]
        told = [found.hexdigest() == said for found, said in digests if said is not None]
        return self.size == known["plaintext_bytes"] and bool(told) and all(told)


@dataclass
class Manifest:
    clear: dict[str, Any]
    signed: bool
    """Whether the signature holds under a key that was given, and not only under the one that it names itself."""
    sealed: dict[str, Any] | None = None


def decrypt(source: BinaryIO, code: Code, write: Callable[[bytes], object], manifest: Manifest | None) -> Header:
    """Everything of ``source`` to ``write``. Raises Refused: what was written until then is worth nothing."""
    hashed, size = hashlib.sha256(), 0
    clear = manifest.clear if manifest else None
    known = (manifest.sealed or {}) if manifest else {}

    def seen(data: bytes) -> None:
        nonlocal size
        hashed.update(data)
        size += len(data)
        if size > (clear["size_bytes"] if clear else MAX_ARTIFACT):
            refuse("format.trailing", "the file is longer than it was when it was written")

    header = read_header(source, seen)
    for name in ("artifact_id", "catalog_id", "connection_id") if clear else ():
        if clear and clear[name] != getattr(header, name):
            refuse("format.swapped", "the file is another backup than its manifest describes")
    aad = b"odb/v1/artifact\0" + hashlib.sha256(header.preamble).digest()
    stream = Floe(data_key(header, code), aad, exactly(source, 74, seen))
    gunzip = Gunzip(known.get("plaintext_bytes"))
    while chunk := source.read(SEG):
        seen(chunk)
        for piece in stream.update(chunk):
            for plain in gunzip.feed(piece):
                write(plain)
    stream.finish()
    gunzip.finish()
    if clear and (size != clear["size_bytes"] or hashed.hexdigest() != clear["artifact_sha256"]):
        refuse("format.truncated", "the file is not, byte for byte, the one that its manifest describes")
    if known and not gunzip.is_what(known):
        refuse("format.gzip", "the content is not the one that was recorded when it was dumped")
    return header


# -- the manifest and the bundle of keys


def read_manifest(raw: bytes, signers: set[bytes], keys: dict[str, Any] | None) -> Manifest:
    envelope = strict_json(raw, "the manifest", "format.manifest")
    if not isinstance(envelope, dict) or envelope.keys() != {"manifest", "signature"}:
        refuse("format.manifest", "the manifest does not say what a manifest says")
    clear = envelope["manifest"]
    if not isinstance(clear, dict) or clear.keys() != MANIFEST_KEYS:
        refuse("format.manifest", "the manifest does not say what a manifest says")
    if type(clear["v"]) is not int or clear["v"] != 1 or type(clear["size_bytes"]) is not int:
        refuse("format.manifest", "the manifest has another version than 1: use the decrypt.py that lies beside it")
    texts = [clear[k] for k in ("artifact_id", "catalog_id", "connection_id", "artifact_sha256", "signer", "sealed")]
    if not all(isinstance(t, str) for t in texts) or not HEX[64].fullmatch(clear["signer"]):
        refuse("format.manifest", "the manifest does not say what a manifest says")
    signer = bytes.fromhex(clear["signer"])
    message = json.dumps(clear, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if signers and signer not in signers:
        refuse("format.manifest", "the manifest was signed by another key than the installation's")
    if not signature_holds(signer, b"offsitedb-manifest", message, str(envelope["signature"])):
        refuse("format.manifest", "the signature of the manifest does not hold: it was altered")
    manifest = Manifest(clear, signer in signers)
    if keys is not None:
        manifest.sealed = sealed_part(clear, keys)
    return manifest


def sealed_part(clear: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    """What was captured: tables and rows, versions, the content's hash."""
    try:
        blob = from_base64url(clear["sealed"])
    except ValueError:
        refuse("format.manifest", "the sealed part of the manifest is damaged")
    if not blob.startswith(b"ODBBLOB1"):
        refuse("format.manifest", "the sealed part of the manifest is damaged")
    for entry in keys["masters"]:
        master = bech32m("odbm", entry["key"])
        if (kid := expand(master, b"odb/v1/kid", 8)) == blob[8:16]:
            place = (clear["catalog_id"], clear["artifact_id"], clear["connection_id"])
            aad = bind("odb/v1/blob", "manifest", kid.hex(), *place)
            found = json.loads(open_floe(expand(master, b"odb/v1/blob", 32), aad, blob[16:]))
            return dict(found)
    refuse("format.wrong-key", f"the bundle of keys lacks the master key k-{blob[8:16].hex()}")


def signature_holds(public: bytes, namespace: bytes, message: bytes, armored: str) -> bool:
    """SSHSIG with Ed25519, as ssh-keygen writes it."""

    def string(value: bytes) -> bytes:
        return struct.pack(">I", len(value)) + value

    start, end = "-----BEGIN SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n"
    try:
        blob = base64.b64decode(armored.removeprefix(start).removesuffix(end).replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    kind = string(b"ssh-ed25519")
    about = string(namespace) + string(b"") + string(b"sha512")
    head = b"SSHSIG" + struct.pack(">I", 1) + string(kind + string(public)) + about
    signature = blob[-64:]
    if blob != head + string(kind + string(signature)):
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(public)
        key.verify(signature, b"SSHSIG" + about + string(hashlib.sha512(message).digest()))
    except (InvalidSignature, ValueError):
        return False
    return True


def read_keys(raw: bytes, code: Code) -> dict[str, Any]:
    """What the bundle ``<catalog id>.keys`` holds."""
    parts = raw.decode("ascii", "replace").strip().split(".")
    if len(parts) != 4 or parts[0] != "odb1k":
        refuse("format.header", "this is not a bundle of keys")
    _, catalog_id, kid, text = parts
    code.fits(kid, "the bundle of keys")
    try:
        sealed = from_base64url(text)
    except ValueError:
        refuse("format.header", "the bundle of keys is damaged")
    plain = json.loads(code.open(bind("odb/v1/keys", kid, catalog_id), sealed))
    if plain.get("v") != 1:
        refuse("format.version", "the bundle of keys has another version: use the decrypt.py that lies beside it")
    return dict(plain)


# -- the command line


def say(text: str = "") -> None:
    sys.stderr.write(text + "\n")


def shown(value: object) -> str:
    """Text from a file, harmless on a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))


def ask(args: argparse.Namespace) -> Code:
    text = sys.stdin.readline() if args.code_stdin else getpass.getpass("Recovery code (it is not shown): ")
    return Code(text)


def beside(artifact: Path, catalog_id: str, ending: str) -> Path | None:
    """A file of the kit: where this program lies, and in RECOVERY at the destination of the backup."""
    here = [Path(__file__).resolve().parent, *(up / "RECOVERY" for up in artifact.resolve().parents[:4])]
    return next((p for d in here if (p := d / f"{catalog_id}{ending}").is_file()), None)


def given_keys(args: argparse.Namespace, near: Path, catalog_id: str, code: Code) -> dict[str, Any] | None:
    path = args.bundle or beside(near, catalog_id, ".keys")
    if path is None:
        say("note: no bundle of keys at hand (--bundle); what the manifest keeps sealed stays unread")
        return None
    keys = read_keys(path.read_bytes(), code)
    if keys["catalog_id"] != catalog_id:
        refuse("format.swapped", "the bundle of keys is of another installation than the backup")
    return keys


def given_signers(args: argparse.Namespace, near: Path, catalog_id: str, keys: dict[str, Any] | None) -> set[bytes]:
    if args.signer is None and keys is not None:
        return {bytes.fromhex(keys["signer_public"])}
    path = args.signer or beside(near, catalog_id, ".allowed_signers")
    found = set(re.findall(r"ssh-ed25519 (\S+)", path.read_text())) if path else set()
    return {base64.b64decode(one)[-32:] for one in found}


def load_manifest(path: Path, code: Code, args: argparse.Namespace) -> Manifest:
    raw = path.read_bytes()
    clear = read_manifest(raw, set(), None).clear
    keys = given_keys(args, path, clear["catalog_id"], code)
    return read_manifest(raw, given_signers(args, path, clear["catalog_id"], keys), keys)


def do_open(args: argparse.Namespace) -> None:
    path: Path = args.what
    if args.output is None:
        sys.exit("decrypt.py: where to? -o restored.dump, or -o - for a pipe")
    if args.output != "-" and Path(args.output).exists():
        sys.exit(f"decrypt.py: {shown(args.output)} is there already: it is not overwritten")
    beside_it = path.with_name(path.name.removesuffix(".odb") + ".manifest.json")
    with path.open("rb") as source:
        read_header(source)  # before anybody is asked for anything
        code = ask(args)
        source.seek(0)
        there = args.with_manifest or (beside_it if beside_it.is_file() and not args.alone else None)
        manifest = load_manifest(there, code, args) if there else None
        if manifest is None:
            say("note: no manifest beside it; whether it is the latest of its kind cannot be told")
        elif not manifest.signed:
            say("note: nobody's public key at hand; the manifest's signature says only that it is whole")
        with output(args.output) as write:
            header = decrypt(source, code, write, manifest)
    checks = "every segment, the end" + (", the recorded hash" if manifest else "")
    checks += ", the hash of the content" if manifest and manifest.sealed else ""
    say(f"whole: backup {header.artifact_id} of {header.created_at}; checked: {checks}")


@contextlib.contextmanager
def output(target: str) -> Iterator[Callable[[bytes], object]]:
    """Where the archive goes. A file appears under its name only when it is whole."""
    if target == "-":
        if sys.stdout.isatty():
            sys.exit("decrypt.py: the archive is binary: -o FILE, or pipe it into pg_restore")
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    path = Path(target)
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def do_list(args: argparse.Namespace) -> None:
    """Backups in a folder and beneath, oldest first. Needs no code."""
    rows = []
    for path in sorted(args.what.rglob("*.odb")):
        manifest = path.with_name(path.name.removesuffix(".odb") + ".manifest.json")
        try:
            with path.open("rb") as source:
                header = read_header(source)
            note, size = "no manifest: it was never finished", path.stat().st_size
            if manifest.is_file():
                clear = read_manifest(manifest.read_bytes(), set(), None).clear
                note = "" if clear["size_bytes"] == size else f"damaged: it had {clear['size_bytes']} bytes"
                note = note if clear["artifact_id"] == header.artifact_id else "damaged: the manifest is another one's"
            rows.append((header.created_at, header.connection_id, size, path, note))
        except (Refused, OSError) as e:
            rows.append(("?", "?", 0, path, f"damaged: {e}"))
    for created_at, connection, size, path, note in sorted(rows):
        line = f"{created_at:27}  connection {connection}  {size:>15,} bytes  {path.relative_to(args.what)}"
        sys.stdout.write(shown(f"{line}  {note}".rstrip()) + "\n")
    for bundle in sorted(args.what.rglob("*.keys")):
        sys.stdout.write(shown(f"bundle of keys: {bundle.relative_to(args.what)}") + "\n")
    if not rows:
        say("no backup (*.odb) lies there")


def do_manifest(args: argparse.Namespace) -> None:
    manifest = load_manifest(args.what, ask(args), args)
    clear = {k: v for k, v in manifest.clear.items() if k != "sealed"}
    json.dump({**clear, "sealed": manifest.sealed}, sys.stdout, indent=1)
    sys.stdout.write("\n")


def do_keys(args: argparse.Namespace) -> None:
    json.dump(read_keys(args.what.read_bytes(), ask(args)), sys.stdout, indent=1)
    sys.stdout.write("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Open backups of OffsiteDB console with the recovery code.")
    parser.add_argument("what", type=Path, metavar="FILE", help="a backup (*.odb), or what the options below name")
    parser.add_argument("-o", "--output", help="where the archive goes; - is stdout")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--list", dest="do", action="store_const", const=do_list, help="FILE is a folder: what lies there"
    )
    kind.add_argument(
        "--manifest", dest="do", action="store_const", const=do_manifest, help="FILE is a manifest: show it"
    )
    kind.add_argument(
        "--keys", dest="do", action="store_const", const=do_keys, help="FILE is a bundle: SHOW its secrets"
    )
    parser.add_argument("--bundle", type=Path, help="the bundle of keys, if it is not in RECOVERY beside the backup")
    parser.add_argument("--signer", type=Path, help="the signer's public key (allowed_signers) from somewhere safe")
    parser.add_argument("--with-manifest", type=Path, help="the manifest, if it is not beside the backup")
    parser.add_argument("--alone", action="store_true", help="use the backup and the code, and no manifest or bundle")
    parser.add_argument("--code-stdin", action="store_true", help="read the recovery code from stdin, one line")
    args = parser.parse_args()
    try:
        (args.do or do_open)(args)
    except Refused as e:
        sys.exit(f"decrypt.py: refused: {shown(e)}")
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        sys.exit(f"decrypt.py: refused: what was opened does not say what it should ({type(e).__name__})")
    except OSError as e:
        sys.exit(f"decrypt.py: {e.strerror}: {shown(e.filename)}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
