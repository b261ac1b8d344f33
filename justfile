# Every command that a contributor needs. `just` alone lists them.

default:
    @just --list

# Run everything on this machine.
up *arguments:
    cargo kyros up {{arguments}}

# The tests, as the README says.
test:
    cargo test --workspace

# Format and lint as CI does.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# What images hold, in target/release: the sidecar with the profile that makes it small.
programs:
    cargo build --release --workspace --bins
    cargo build --profile sidecar --package kyros-sidecar
    install target/sidecar/kyros-sidecar target/release/

# Write the generated files anew.
generate:
    cargo kyros openapi > docs/openapi.json
    cargo kyros crds --output charts/kyros/files/crds
    HELM="$(tests/control-plane/build)/helm" charts/render

# What decides whether a change lands.
ci:
    bash .ci/run

# Remove this checkout's state and demo data, so that the next start begins anew.
reset:
    rm -rf .kyros data/tenants
