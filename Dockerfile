# A release names it with its digest, node:24-bookworm-slim@sha256:..., so that the same build has the same base.
ARG BASE=node:24-bookworm-slim

FROM ${BASE} AS build
WORKDIR /work
COPY package.json package-lock.json ./
# No package of ours needs a script of its own to be built; the only one that has one brings a second Node.js.
RUN npm ci --ignore-scripts --no-audit --no-fund
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

FROM ${BASE} AS runtime
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mission-control-runtime" \
      org.opencontainers.image.description="One process per account that delivers Convex notifications to OpenClaw agents, each with one visible effect" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=build /work/docs/runtime docs/runtime
COPY --from=build /work/dist dist
# glibc keeps memory for each of V8's threads otherwise.
ENV NODE_ENV=production MALLOC_ARENA_MAX=2 HOME=/state OPENCLAW_STATE_DIR=/state
# Folders for volumes: a new volume takes its owner from here. Compose mounts the gateway's state at /openclaw.
RUN mkdir /state /openclaw && chown 10001:10001 /state /openclaw
USER 10001:10001
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
  CMD ["/app/dist/main.js", "healthcheck"]
ENTRYPOINT ["/app/dist/main.js"]
CMD ["start"]
