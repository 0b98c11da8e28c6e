#!/bin/sh
# ESP in a kernel that has it, wherever this machine's has not: boots Debian's cloud kernel in an emulator, runs in it the
# tests of portunus-io and portunus-node that ask the kernel, and registers a SIP terminal whose session the kernel protects.
# About two minutes beside the builds. Not a part of test.sh: it takes 60 MB from Debian's archive.
#
#   sh control/tidy/kernel-esp.sh [FOLDER]      # needs qemu-system-x86, busybox-static, kmod, cpio, iproute2 (Debian 12)
set -eu
cd "$(dirname "$0")/../.."
WORK="${1:-$(mktemp -d)}"
ROOT="$WORK/root"
mkdir -p "$WORK" "$ROOT/bin" "$ROOT/sbin" "$ROOT/lib64" "$ROOT/proc" "$ROOT/sys" "$ROOT/dev" "$ROOT/tmp" "$ROOT/lab"

# The kernel and its modules.
IMAGE="$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')"
(cd "$WORK" && ls "$IMAGE"_*.deb > /dev/null 2>&1 || (cd "$WORK" && apt-get download -q "$IMAGE"))
dpkg -x "$WORK/$IMAGE"_*.deb "$WORK/kernel"
VERSION="${IMAGE#linux-image-}"
MODULES="lib/modules/$VERSION"
for part in kernel/crypto kernel/arch/x86/crypto kernel/lib kernel/net/xfrm kernel/net/ipv4/esp4.ko modules.builtin modules.builtin.modinfo modules.order; do
    mkdir -p "$ROOT/$MODULES/$(dirname "$part")"
    cp -a "$WORK/kernel/$MODULES/$part" "$ROOT/$MODULES/$(dirname "$part")/"
done
depmod -b "$ROOT" "$VERSION"

# What runs in it.
built() {
    cargo test -q -p "$1" --test "$2" --no-run --message-format json |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep "/$2-" | tail -n 1
}
put() {
    strip -o "$2" "$1" 2> /dev/null || cp -L "$1" "$2"
    ldd "$1" | awk '/=> \// { print $3 } /^[[:space:]]*\// { print $1 }' | while read -r library; do
        mkdir -p "$ROOT$(dirname "$library")"
        cp -Ln "$library" "$ROOT$library" || true
    done
}
cargo build -q -p portunus
put "$(built portunus-io xfrm)" "$ROOT/xfrm"
put "$(built portunus-node kernel)" "$ROOT/node"
put target/debug/portunus "$ROOT/portunus"
mkdir -p "$ROOT/real"
put "$(command -v ip)" "$ROOT/real/ip"
put "$(command -v modprobe)" "$ROOT/sbin/modprobe"
cp "$(command -v busybox)" "$ROOT/bin/busybox"
for applet in sh mount sleep timeout poweroff grep; do ln -sf busybox "$ROOT/bin/$applet"; done
cp tuning/lab-subscribers.csv "$ROOT/lab/"
awk '{ print } /^\[proxy.ipsec\]/ { inside = 1 } inside && /^address/ {
    print "[proxy.ipsec.kernel]\naddress = \"127.0.0.1:4501\"\nports = 6000"; inside = 0 }' tuning/lab.toml > "$ROOT/lab/lab.toml"

cat > "$ROOT/init" << 'INIT'
#!/bin/sh
export PATH=/real:/sbin:/bin
mount -t proc none /proc && mount -t sysfs none /sys && mount -t devtmpfs none /dev
for module in esp4 xfrm_user gcm seqiv ghash-generic aesni-intel ctr; do modprobe "$module"; done
/real/ip link set lo up
echo 0 > /proc/sys/net/ipv4/conf/lo/disable_xfrm
echo 0 > /proc/sys/net/ipv4/conf/lo/disable_policy
PORTUNUS_XFRM_ALONE=1 /xfrm --nocapture --test-threads=1 && /node --nocapture && echo "TESTS PASSED"
/portunus run --config /lab/lab.toml > /tmp/log 2>&1 &
proxy=$!
sleep 8
timeout 30 /portunus register --protocol sip --server 127.0.0.1:5060 --id alice@example.test \
    --proxy-id sp1.example.test --key-file /lab/lab-subscribers.csv --mechanism ipsec-man && echo "REGISTERED"
/real/ip -s xfrm state | grep -v aead
kill $proxy
sleep 4
[ -z "$(/real/ip xfrm state)$(/real/ip xfrm policy | grep 'sport 60')" ] && echo "NOTHING LEFT"
poweroff -f
INIT
chmod +x "$ROOT/init"
chmod 600 "$ROOT"/lab/*
(cd "$ROOT" && find . | cpio -o -H newc 2> /dev/null | gzip -1 > "$WORK/initrd.gz")
timeout 600 qemu-system-x86_64 -m 2048 -cpu max -nographic -no-reboot -kernel "$WORK/kernel/boot/vmlinuz-$VERSION" \
    -initrd "$WORK/initrd.gz" -append "console=ttyS0 quiet panic=1" | tee "$WORK/log"
for word in "TESTS PASSED" "REGISTERED" "NOTHING LEFT"; do
    grep -q "$word" "$WORK/log" || { echo "not seen: $word"; exit 1; }
done
echo "ESP in the kernel: passed"
