# A release names it with its digest, node:24-bookworm-slim@sha256:..., so that the same build has the same base.
ARG BASE=node:24-bookworm-slim

FROM ${BASE} AS packages
WORKDIR /work
COPY package.json package-lock.json ./
# The build needs no package's script.
RUN npm ci --ignore-scripts --no-audit --no-fund

FROM packages AS build
COPY build build
COPY src src
COPY docs/runtime docs/runtime
RUN node build/main.ts

# The whole demonstration around a runtime: control plane, gateway and model that stand in. Not for production.
FROM build AS demo
COPY convex convex
COPY local local
RUN mkdir /demo && chown 10001:10001 /demo
USER 10001:10001
ENTRYPOINT ["node", "local/demo/stage.ts"]

# The image's files, all with one time, so that the same sources give the same layers. The time is fixed, because the
# engine's cache finds files by their content and then keeps their older time.
FROM build AS files
COPY LICENSE ./
RUN mkdir -p /files/app/docs /owned/state /owned/openclaw && \
    cp -r package.json LICENSE dist /files/app/ && cp -r docs/runtime /files/app/docs/ && \
    find /files /owned -exec touch --no-dereference --date=@0 {} +

FROM ${BASE} AS runtime
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mission-control-runtime" \
      org.opencontainers.image.description="One process per account that delivers Convex notifications to OpenClaw agents, each with one visible effect" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=files /files/ /
# Folders for volumes: a new volume takes its owner from here. Compose mounts the gateway's state at /openclaw.
COPY --from=files --chown=10001:10001 /owned/ /
WORKDIR /app
# glibc keeps memory for each of V8's threads otherwise, and 10 MB of what V8 took to compile the program at the start:
# blocks from this size on go back to the system.
ENV NODE_ENV=production MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=32768 HOME=/state OPENCLAW_STATE_DIR=/state
USER 10001:10001
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
  CMD ["/app/dist/main.js", "healthcheck"]
ENTRYPOINT ["/app/dist/main.js"]
CMD ["start"]
