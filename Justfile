# What people expect to find; each is one line, and `cargo xtask --help` says more.

# Tell the story: freeze a real Envoy, prove that it is frozen, thaw it
demo *args:
    cargo xtask demo {{args}}

# Run every test there is
test *args:
    cargo xtask test {{args}}

# Check formatting, clippy and dependencies
lint:
    cargo xtask lint

# Measure what the filter costs
bench *args:
    cargo xtask bench {{args}}

# Fuzz what reads requests and snapshots
fuzz *args:
    cargo xtask fuzz {{args}}

# Bring up origin, companion and Envoy until Ctrl-C
up:
    cargo xtask up
