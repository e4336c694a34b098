# agno-otel alone, as a user without rights, with one folder to write in: /var/lib/agno-otel.
#
#   docker build -t agno-otel:0.1.0 .
#   docker run --read-only --cap-drop ALL -v agno-otel:/var/lib/agno-otel -v /srv/app:/srv/app agno-otel:0.1.0 run /srv/app/agno.db
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
# What --version says it was built from: --build-arg AGNO_OTEL_COMMIT=$(git rev-parse HEAD)
ARG AGNO_OTEL_COMMIT
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin agno-otel \
    && install -D -m 0755 target/release/agno-otel /out/usr/local/bin/agno-otel \
    && install -d -o 65532 -g 65532 -m 0750 /out/var/lib/agno-otel

FROM debian:bookworm-20260824-slim
# The certificates of endpoints are checked against these.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# For health checks, here and in compose files.
COPY --from=busybox:1.37.0-musl /bin/busybox /usr/local/bin/wget
COPY --from=build /out/usr/local/bin/agno-otel /usr/local/bin/agno-otel
COPY --from=build --chown=65532:65532 /out/var/lib/ /var/lib/
USER 65532:65532
# Where the state file is, and whom a health check asks; both can be set anew.
ENV AGNO_OTEL_STATE=/var/lib/agno-otel/state.db \
    AGNO_OTEL_LISTEN=127.0.0.1:4320
VOLUME /var/lib/agno-otel
WORKDIR /var/lib/agno-otel
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:4320/healthz"]
ENTRYPOINT ["agno-otel"]
CMD ["run"]
