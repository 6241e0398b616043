/** A file, and the SHA-256 of its bytes in hexadecimal. */
export interface Digest {
  readonly name: string
  readonly sha256: string
}

/** What a release was built from, and with what. */
export interface Built {
  readonly version: string
  readonly tag: string
  readonly commit: string
  readonly lockFile: Digest
  readonly node: string
  readonly npm: string
}

/**
 * States where the files come from, as an in-toto statement with SLSA's provenance 1. It has no time and no random id,
 * so that the same commit always gives the same bytes. It is not signed itself: the tag contains its digest.
 */
export const provenanceOf = (files: ReadonlyArray<Digest>, built: Built): object => ({
  _type: "https://in-toto.io/Statement/v1",
  subject: files.map(({ name, sha256 }) => ({ name, digest: { sha256 } })),
  predicateType: "https://slsa.dev/provenance/v1",
  predicate: {
    buildDefinition: {
      buildType: "urn:mission-control-runtime:release:1",
      externalParameters: { ref: `refs/tags/${built.tag}`, version: built.version },
      resolvedDependencies: [
        { name: "source", digest: { gitCommit: built.commit } },
        { name: built.lockFile.name, digest: { sha256: built.lockFile.sha256 } }
      ]
    },
    runDetails: {
      builder: { id: "urn:mission-control-runtime:npm-run-release", version: { node: built.node, npm: built.npm } }
    }
  }
})
