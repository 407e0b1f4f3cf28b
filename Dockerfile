# syntax=docker/dockerfile:1

# The compiler runs on the builder's own architecture and compiles for the image's: nothing is emulated.
ARG RUST_VERSION=1.95
FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-slim-trixie AS build

# The image's architecture, amd64 or arm64. BuildKit sets it from --platform.
ARG TARGETARCH
ARG BUILDARCH

WORKDIR /src

# Rust's name of the target, and a C compiler for it: the TLS library has parts in C and assembly.
RUN set -eu; \
    case "${TARGETARCH:?set it to amd64 or arm64}" in \
      amd64) cpu=x86_64 ;; \
      arm64) cpu=aarch64 ;; \
      *) echo "no such target: ${TARGETARCH} (amd64, arm64)" >&2; exit 1 ;; \
    esac; \
    target="${cpu}-unknown-linux-gnu"; \
    compiler=gcc; \
    if [ "${TARGETARCH}" != "${BUILDARCH:-${TARGETARCH}}" ]; then \
      package="$(echo "${cpu}" | tr _ -)"; \
      apt-get update; \
      apt-get install --yes --no-install-recommends "gcc-${package}-linux-gnu" "libc6-dev-${TARGETARCH}-cross"; \
      rm -rf /var/lib/apt/lists/*; \
      compiler="${cpu}-linux-gnu-gcc"; \
    fi; \
    rustup target add "${target}"; \
    mkdir /build; \
    variable="$(echo "${target}" | tr a-z- A-Z_)"; \
    { \
      echo "export CARGO_BUILD_TARGET=${target}"; \
      echo "export CARGO_TARGET_${variable}_LINKER=${compiler}"; \
      echo "export CC_$(echo "${target}" | tr - _)=${compiler}"; \
      echo "export RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs'"; \
    } > /build/env

COPY . .

RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-${TARGETARCH} \
    set -eu; \
    . /build/env; \
    cargo build --release --locked --bin retryable-tasks; \
    cp "target/${CARGO_BUILD_TARGET}/release/retryable-tasks" /build/

FROM scratch

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="retryable-tasks" \
      org.opencontainers.image.description="Runs tasks as Pods, one per attempt, and retries them with a jittered back-off" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /build/retryable-tasks /retryable-tasks
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/retryable-tasks"]
