"""Scapy's IPsec layer as a peer: `esp.py KEY-AND-SALT SPI`, both directions of one association.

A question a line: `open DATAGRAM` or `seal SEQ FROM TO [CONTENT]`, octets in hex. An answer a line: `udp FROM TO
[CONTENT]`, `esp DATAGRAM`, or `error WHY`.
"""
import sys

try:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.ipsec import ESP, SecurityAssociation
    from scapy.packet import Raw
except ImportError as error:
    print(error)
    sys.exit(1)

key, spi = bytes.fromhex(sys.argv[1]), int(sys.argv[2])


def association():
    return SecurityAssociation(ESP, spi=spi, crypt_algo="AES-GCM", crypt_key=key)


def opened(datagram):
    plain = association().decrypt(IP(bytes(IP(src="192.0.2.7", dst="192.0.2.1", proto=50) / ESP(datagram))))
    udp = plain[UDP]
    return f"udp {udp.sport} {udp.dport} {bytes(udp.payload).hex()}".rstrip()


def sealed(seq, ports, content):
    plain = IP(src="192.0.2.7", dst="192.0.2.1") / UDP(sport=ports[0], dport=ports[1]) / Raw(content)
    return "esp " + bytes(association().encrypt(IP(bytes(plain)), seq_num=seq)[ESP]).hex()


print("ready", flush=True)
for line in sys.stdin:
    words = line.split()
    try:
        if words[0] == "open":
            answer = opened(bytes.fromhex(words[1]))
        else:
            content = bytes.fromhex(words[4]) if len(words) > 4 else b""
            answer = sealed(int(words[1]), (int(words[2]), int(words[3])), content)
    except Exception as error:
        answer = f"error {type(error).__name__}: {error}"
    print(answer, flush=True)
