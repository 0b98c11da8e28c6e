#!/bin/sh
# Every test of Portunus, in the order in which a failure is cheapest. Installs the peers that the tests talk to when
# they are missing and this user may. Run from anywhere; ends with a line `N passed, N failed`.
#
#   sh control/tidy/test.sh            everything
#   sh control/tidy/test.sh fmt unit   only these stages
#
# Stages: tools (install), fmt, lint, unit (unit, integration, simulator, loom, live peers, kept fuzz seeds), demo,
# fuzz (each target briefly; FUZZ_SECONDS), load (a look at the measurements).
set -u
cd "$(dirname "$0")/../.." || exit 2

WANTED="${*:-tools fmt lint unit demo fuzz load}"
PASSED=0
FAILED=0
LOG="$(mktemp)"
trap 'rm -f "$LOG" "$LOG.status"' EXIT

wanted() {
    case " $WANTED " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

# run NAME COMMAND...: runs it, shows it, and counts: the tests that it reports, or itself as one.
run() {
    name="$1"
    shift
    printf '\n=== %s: %s\n' "$name" "$*"
    { "$@" 2>&1; echo $? > "$LOG.status"; } | tee "$LOG"
    status="$(cat "$LOG.status")"
    ok="$(awk '/^test result: / { n += $4 } END { print n + 0 }' "$LOG")"
    bad="$(awk '/^test result: / { n += $6 } END { print n + 0 }' "$LOG")"
    if [ "$ok" -eq 0 ] && [ "$bad" -eq 0 ]; then
        if [ "$status" -eq 0 ]; then ok=1; else bad=1; fi
    elif [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    PASSED=$((PASSED + ok))
    FAILED=$((FAILED + bad))
}

have() {
    command -v "$1" > /dev/null 2>&1
}

# Peers that are modules of python's: of RAS, and of ESP.
modules() {
    python3 -c 'import pycrate_asn1dir, scapy, cryptography' > /dev/null 2>&1
}

# The peers and instruments, by the command that each package brings.
tools() {
    missing=""
    for pair in openssl:openssl make:make tshark:tshark kamailio:kamailio sipp:sip-tester sipsak:sipsak baresip:baresip-core escript:erlang-megaco softhsm2-util:softhsm2 pkcs11-tool:opensc argon2:argon2 osmo-mgw:osmo-mgw freeDiameterd:freediameter freeradius:freeradius radclient:freeradius-utils valgrind:valgrind clang:clang cc:gcc; do
        have "${pair%%:*}" || missing="$missing ${pair##*:}"
    done
    # Its server is in nobody's path.
    ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || missing="$missing postgresql"
    # What its relay's white list is an extension of.
    [ -e /usr/lib/freeDiameter/acl_wl.fdx ] || missing="$missing freediameter-extensions"
    # OpenSSL's own build wants more of perl than every Debian has.
    perl -MIPC::Cmd -e 1 > /dev/null 2>&1 || missing="$missing perl"
    if ! modules && ! python3 -m pip --version > /dev/null 2>&1; then missing="$missing python3-pip"; fi
    if [ -n "$missing" ]; then
        if [ "$(id -u)" -ne 0 ]; then
            echo "missing:$missing; install them as root: apt-get install$missing"
            return 1
        fi
        # Services that packages would start have no business here.
        export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
        apt-get update -q && apt-get install -q -y --no-install-recommends $missing || return 1
    fi
    # Debian keeps pip from its own python unless told otherwise (PEP 668).
    if ! modules; then
        packages="pycrate==0.8.1 scapy cryptography"
        python3 -m pip install -q $packages || python3 -m pip install -q --break-system-packages $packages || return 1
    fi
    if ! cargo fmt --version > /dev/null 2>&1 || ! cargo clippy --version > /dev/null 2>&1; then
        rustup component add rustfmt clippy || return 1
    fi
    cargo fetch --locked
}

demo() {
    for topology in proxied direct; do
        for transport in udp tcp; do
            run demo cargo run --release -q -p portunus -- demo --terminals 200 --topology "$topology" \
                --transport "$transport" --json
        done
    done
    for topology in proxied direct; do
        run demo cargo run --release -q -p portunus -- demo --terminals 1000 --workers 2 --topology "$topology" \
            --protocols sip,mgcp,h248,ras
    done
    run demo cargo run --release -q -p portunus -- demo --terminals 200 --mechanism ipsec-man --json
    run demo cargo run --release -q -p portunus -- demo --terminals 200 --workers 2 --mechanism tls --transport tcp --json
    run check cargo run --release -q -p portunus -- check --config tuning/lab.toml
}

# The kept seeds of every target are replayed by the ordinary tests; here the fuzzers look further for a while.
fuzz() {
    for file in dataplane/fuzz/fuzz_targets/*.rs control/fuzz/fuzz_targets/*.rs; do
        run fuzz sh dataplane/fuzz/run.sh "$(basename "$file" .rs)" "${FUZZ_SECONDS:-20}"
    done
}

# A look at the measurements: that they run and that their checks of validity hold. Figures need a quiet machine and
# more pairs; see benches/BASELINES.md.
load() {
    run load cargo run --release -q -p portunus-benches --bin portunus-load -- compare --quick
    for passing in sealed esp; do
        run load cargo run --release -q -p portunus-benches --bin portunus-load -- compare --quick --traffic "$passing"
    done
    run load cargo run --release -q -p portunus-benches --bin portunus-load -- memory --terminals 50000 --pairs 3
    # The AuC beside FreeRADIUS: the product's own program answers.
    run load cargo build --release -q -p portunus
    run load cargo run --release -q -p portunus-benches --bin portunus-load -- auc --quick
    # Built in another folder, the compiler cuts the same code otherwise: up to a tenth more or less was seen. The three
    # per cent of the default are for comparisons in one folder.
    run count cargo run --release -q -p portunus-benches --bin portunus-load -- count --tolerance 15
}

wanted tools && run tools tools
wanted fmt && run fmt cargo fmt --all --check
wanted lint && run lint cargo clippy --workspace --all-targets --locked -q -- -D warnings
if wanted lint && cargo deny --version > /dev/null 2>&1; then
    run deny cargo deny --config .deny.toml check
fi
wanted unit && run unit cargo test --workspace --locked --no-fail-fast
wanted demo && demo
wanted fuzz && fuzz
wanted load && load

printf '\n%d passed, %d failed\n' "$PASSED" "$FAILED"
[ "$FAILED" -eq 0 ]
