#!/usr/bin/env python3
"""The ASN.1 runtime pycrate as a peer of Portunus's tests, with its compiled modules of H.225.0 and H.235. Reads frames
from standard input, each `u32 length, u8 what, octets`, answers each by a frame `u32 length, u8 status, octets` and ends
at the end of input.

what 1: decode a RasMessage and encode it again. Status 0: taken; three lines: the octets that pycrate writes, in hex;
        those that it writes with its one fault mended (below), in hex; the value in JSON (JER, X.697). Status 1: refused; why.
     2: as 1, without encoding: the JSON alone. An octet that is left over refuses the message.
     3: encode a RasMessage from JSON, the fault mended.
     4: the same without mending.
     5: make up a RasMessage from these octets, a seed, and encode it as 3 does: of any kind, with whatever components,
        alternatives and additions H.225.0 has.
     6: as 2, but of additions only those that the project reads: all others are passed by their length. Answers nothing.

The fault: the padding in front of a sequence's first extension addition is computed before the map of additions is
written, which stands between the two. Where the root ends within an octet that is one octet too many, which pycrate itself
cannot read. Mended, every padding is computed where it stands."""

import json
import random
import resource
import signal
import struct
import sys

try:
    from pycrate_asn1dir import H225
    from pycrate_asn1rt import asnobj
    from pycrate_asn1rt.codecs import ASN1CodecPER, T_UINT
    from pycrate_core.charpy import Charpy
except ImportError as missing:
    sys.exit(f"pycrate: {missing}")

RAS = H225.H323_MESSAGES.RasMessage
pack = asnobj.pack_val


class Padding(tuple):
    """Bits up to the next octet boundary."""


def padding(codec):
    bits = -codec._off[-1] % 8
    codec._off[-1] += bits
    return [Padding((T_UINT, 0, bits))]


def pack_mended(*parts):
    out, at = [], 0
    for part in parts:
        if isinstance(part, Padding):
            part = (T_UINT, 0, -at % 8)
        at += part[2]
        if part[2]:
            out.append(part)
    return pack(*out)


ASN1CodecPER.encode_pad = classmethod(padding)


# The additions that the project reads, in messages and in what they hold.
READ = {
    "tokens", "cryptoTokens", "timeToLive", "keepAlive", "endpointIdentifier", "willRespondToIRR", "callIdentifier",
    "destinationInfo", "sourceInfo", "needResponse", "unsolicited", "reason", "sendersID", "profileInfo",
    "requestInProgress", "resourcesAvailableIndicate", "resourcesAvailableConfirm", "infoRequestAck", "infoRequestNak",
}
decode_open = ASN1CodecPER.decode_unconst_open
READ_ALL = True


def decode_read(codec, left, wrapped=None):
    return decode_open(left, wrapped if READ_ALL or wrapped is None or wrapped._name in READ else None)


ASN1CodecPER.decode_unconst_open = classmethod(decode_read)


def encode(mended):
    ASN1CodecPER._off[:] = []
    asnobj.pack_val = pack_mended if mended else pack
    return RAS.to_aper()


def decode(octets, all=True):
    global READ_ALL
    READ_ALL = all
    # What was passed is octets and not the value that its type has: bounds are those of what was read.
    asnobj.ASN1Obj._SAFE_BND = all
    ASN1CodecPER._off[:] = []
    left = Charpy(octets)
    RAS.from_aper(left)
    if left.len_bit():
        raise ValueError(f"{left.len_bit()} bits left over")
    return json.dumps(RAS._to_jval(), ensure_ascii=False) if all else ""


def number(draw, low, high):
    """A number between bounds, often one of them."""
    return draw.choice([low, high, draw.randint(low, min(high, low + 300)), draw.randint(low, high)])


def size(draw, kind, most):
    bounds = kind._const_sz
    low, high = (bounds.lb, bounds.ub) if bounds else (0, most)
    return min(number(draw, low or 0, most if high is None else high), max(low or 0, most))


def made_up(draw, kind, deep):
    """A value of a type of pycrate's; what is optional is the rarer the deeper it stands."""
    name = kind.TYPE
    if name == "INTEGER":
        bounds = kind._const_val
        low, high = (bounds.lb, bounds.ub) if bounds else (-70000, 70000)
        return number(draw, -300 if low is None else low, 2**32 - 1 if high is None else high)
    if name in ("BOOLEAN", "NULL"):
        return draw.random() < 0.5 if name == "BOOLEAN" else 0
    if name == "OBJECT IDENTIFIER":
        return draw.choice([(1, 2), (0, 0, 8, 2250, 0, 7), (1, 3, 6, 1, 4, 1, 32473, 8, 300), (2, 999, 2**40)])
    if name == "ENUMERATED":
        return draw.choice(kind._root)
    if name == "OCTET STRING":
        return draw.randbytes(size(draw, kind, 40))
    if name == "BIT STRING":
        bits = size(draw, kind, 70)
        return (draw.getrandbits(bits) if bits else 0, bits)
    if name == "OPEN_TYPE":
        return ("_unk_004", draw.randbytes(draw.randint(1, 9)))
    if name.endswith("String"):
        letters = kind._const_alpha.root if kind._const_alpha else "0123456789" if name == "NumericString" else "aZ09 "
        if name in ("BMPString", "GeneralString", "UTF8String"):
            letters = "aß€ \u0001\ufffe" if name == "BMPString" else "aZ"
        return "".join(draw.choice(letters) for _ in range(size(draw, kind, 20)))
    if name in ("SEQUENCE OF", "SET OF"):
        count = size(draw, kind, 3) if deep < 5 else (kind._const_sz.lb if kind._const_sz else 0)
        return [made_up(draw, kind._cont, deep + 1) for _ in range(count)]
    if name == "CHOICE":
        added = [one for one in kind._ext or [] if not one.startswith("_")]
        which = draw.choice(added if added and deep < 6 and draw.random() < 0.3 else kind._root)
        return (which, made_up(draw, kind._cont[which], deep + 1))
    if name == "SEQUENCE":
        out = {}
        for one in kind._root:
            if one not in kind._root_opt or draw.random() < 0.5 / (1 + deep / 2):
                out[one] = made_up(draw, kind._cont[one], deep + 1)
        for one in kind._ext or []:
            if deep < 5 and draw.random() < 0.25 / (1 + deep):
                out[one] = made_up(draw, kind._cont[one], deep + 1)
        return out
    raise ValueError(f"a {name}")


def answer(what, octets):
    if what == 5:
        draw = random.Random(octets)
        RAS.set_val(made_up(draw, RAS, 0))
        return encode(True)
    if what == 1:
        value = decode(octets)
        return f"{encode(False).hex()}\n{encode(True).hex()}\n{value}".encode("utf-8", "surrogatepass")
    if what in (2, 6):
        return decode(octets, what == 2).encode("utf-8", "surrogatepass")
    RAS.from_jer(octets.decode())
    return encode(what == 3)


def give_up(*_):
    raise TimeoutError("took too long")


def main():
    # Some changed messages announce more than any machine holds, and pycrate sets out to read it.
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    signal.signal(signal.SIGALRM, give_up)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(4):
        frame = source.read(struct.unpack(">I", head)[0])
        try:
            signal.alarm(20)
            status, out = 0, answer(frame[0], frame[1:])
        except Exception as why:  # Whatever it stumbles over, it does not take the message.
            status, out = 1, f"{type(why).__name__}: {why}".encode("utf-8", "replace")
        signal.alarm(0)
        sink.write(struct.pack(">IB", len(out) + 1, status) + out)
        sink.flush()


main()
