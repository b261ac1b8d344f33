# The images of Kyros, a target each: api (with the controller), sidecar, clv, risk.
#
#   docker compose build        compiles everything in RUST_IMAGE, which takes a while the first time
#   containers/images FOLDER    makes the four images of programs that are compiled already
#
# An image is a program, the libraries that it is linked with, CA certificates and two small files of glibc's, and nothing
# else: no shell, no package manager, no compiler. It runs as 65532 and needs no writable root. BuildKit is needed, for the
# cache mounts and because it leaves out the stages that nobody asked for.
ARG RUST_IMAGE=rust:1.95-bookworm
# Where /out comes from: the stage of this name, or an image that containers/images makes.
ARG PROGRAMS=build

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# The whole workspace is named so that features are resolved as everywhere else; `kyros` itself is not shipped.
RUN --mount=type=cache,id=kyros-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=kyros-target,target=/src/target \
    cargo build --release --locked --workspace \
        --bin kyros-api --bin kyros-controller --bin kyros-clv --bin kyros-risk --bin kyros-demo-data \
    && cargo build --profile sidecar --locked --package kyros-sidecar \
    && install target/sidecar/kyros-sidecar target/release/ \
    && containers/rootfs target/release /out

FROM ${PROGRAMS} AS programs

FROM scratch AS api
COPY --from=programs /out/api/ /
# A new volume takes over the owner of the folder that it is mounted on.
COPY --from=programs --chown=65532:65532 /out/writable/ /var/lib/kyros/
COPY data/people.yaml /etc/kyros/people.yaml
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["kyros-api"]

FROM scratch AS sidecar
COPY --from=programs /out/sidecar/ /
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["kyros-sidecar"]

FROM scratch AS clv
COPY --from=programs /out/clv/ /
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["kyros-clv"]

FROM scratch AS risk
COPY --from=programs /out/risk/ /
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["kyros-risk"]
