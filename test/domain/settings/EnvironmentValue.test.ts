import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import {
  isReference,
  readBaseUrl,
  readCommand,
  readDeploymentUrl,
  readHost,
  readPath,
  readProxy,
  readSecretText,
  readUrl,
  unwrapped
} from "../../../src/domain/settings/EnvironmentValue.ts"

const home = "/home/pat"
const ofUrl = (text: string) => Result.getOrElse(readBaseUrl(text), (wrong) => wrong)

describe("a value", () => {
  it("loses what its file puts around it, and keeps the rest", () => {
    for (const text of ["a b", ' "a b" ', "'a b'", `'"a b"'`, "\uFEFFa b\r\n", '"a b\r"']) {
      assert.strictEqual(unwrapped(text), "a b", JSON.stringify(text))
    }
    for (const text of ['"a" "b"', '"a', "a'", `"a'`, 'a "b"']) assert.strictEqual(unwrapped(text), text)
    for (const text of ['""', "''", '" "', " "]) assert.strictEqual(unwrapped(text), "")
  })

  it("is a reference if it is only the name of another variable, except for the home folder", () => {
    for (const text of ["$TOKEN", "${TOKEN}", "${TOKEN:-none}", "${token}"]) assert.isTrue(isReference(text), text)
    for (const text of ["$HOME", "${HOME}", "$HOME/x", "$ecret-1", "cost$", "a${B}", "$1"]) {
      assert.isFalse(isReference(text), text)
    }
  })
})

describe("the text of a secret's file", () => {
  it("is the secret, alone or as a line of an env file of its name", () => {
    for (const text of ["s=cret\n", '"s=cret"', "TOKEN=s=cret\r\n", "export TOKEN='s=cret'\n", "TOKEN = s=cret"]) {
      assert.strictEqual(readSecretText("TOKEN", text), "s=cret", JSON.stringify(text))
    }
    assert.strictEqual(readSecretText("TOKEN", "OTHER=secret"), "OTHER=secret")
  })
})

describe("a path", () => {
  it("has the home folder where a shell would insert it", () => {
    for (const [text, path] of [
      ["~", home],
      ["~/.openclaw", `${home}/.openclaw`],
      ["$HOME/.openclaw", `${home}/.openclaw`],
      ["${HOME}/.openclaw", `${home}/.openclaw`],
      ["/a/~/b", "/a/~/b"],
      ["state dir", "state dir"],
      ["/a/b#c", "/a/b#c"]
    ] as const) {
      assert.deepStrictEqual(readPath(text, home), Result.succeed(path))
    }
  })

  it("is refused with the reason if its meaning is not certain", () => {
    for (const [text, reason] of [
      ["~root/.openclaw", "only a shell"],
      ["$HOMES/x", "not replaced"],
      ["/a/${B}/c", "not replaced"],
      ["/a/$(pwd)", "not replaced"],
      ["%h/.openclaw", "systemd"],
      ["file:///a", "URL"],
      ['"/a', "one end"],
      ["/a'", "one end"],
      ["/a # the state", "comment"],
      ["/a\n/b", "line break"]
    ] as const) {
      assert.include(
        Result.getOrElse(readPath(text, home), (wrong) => `refused: ${wrong}`),
        reason,
        text
      )
      assert.isTrue(Result.isFailure(readPath(text, home)), text)
    }
  })
})

describe("a command", () => {
  it("is split into words, each with the home folder where a shell would insert it", () => {
    assert.deepStrictEqual(
      readCommand("~/bin/run  now --at=$5 http://a/%s", home),
      Result.succeed([`${home}/bin/run`, "now", "--at=$5", "http://a/%s"])
    )
  })

  it("is refused with quotation marks or variables, which only a shell interprets", () => {
    for (const text of ["sh -c 'a b'", 'run "a b"', "run $NAME", "run a$NAME"]) {
      assert.isTrue(Result.isFailure(readCommand(text, home)), text)
    }
  })
})

describe("an address", () => {
  it("is normalised", () => {
    for (const [text, address] of [
      ["http://127.0.0.1:18789", "http://127.0.0.1:18789"],
      ["http://127.0.0.1:18789//", "http://127.0.0.1:18789"],
      ["HTTPS://Happy.example/base/", "https://happy.example/base"],
      ["127.0.0.1:18789", "http://127.0.0.1:18789"],
      ["localhost", "http://localhost"],
      ["[::1]:3000/", "http://[::1]:3000"],
      ["happy-animal-123.convex.cloud", "https://happy-animal-123.convex.cloud"],
      ["happy-animal-123.eu-west-1.convex.cloud/", "https://happy-animal-123.eu-west-1.convex.cloud"]
    ] as const) {
      assert.strictEqual(ofUrl(text), address, text)
    }
  })

  it("is refused with the reason if it is ambiguous", () => {
    for (const [text, reason] of [
      ["gateway:18789", "does not begin with http"],
      ["10.0.0.2", "does not begin with http"],
      ["//gateway", "does not begin with http"],
      ["http:/127.0.0.1", "does not begin with http"],
      ["ws://127.0.0.1", "neither http nor https"],
      ["http://", "is not a URL"],
      ["http://${GATEWAY}", "not replaced"],
      ["http://127.0.0.1:18789 # local", "is not a URL"],
      ["http://pat@host", "contains credentials"],
      ["http://host/?token=x", "has a query"],
      ["http://host/#x", "has a fragment"]
    ] as const) {
      assert.strictEqual(ofUrl(text).includes(reason), true, `${text}: ${ofUrl(text)}`)
    }
    assert.isTrue(Result.isSuccess(readUrl("https://collector.example/v1/traces?dataset=a")))
  })

  it("of a deployment is not that of its HTTP actions or of the dashboard", () => {
    assert.isTrue(Result.isSuccess(readDeploymentUrl("https://happy-animal-123.convex.cloud")))
    assert.isTrue(Result.isSuccess(readDeploymentUrl("http://127.0.0.1:3210")))
    for (const text of ["https://happy-animal-123.convex.site", "https://dashboard.convex.dev/d/happy"]) {
      assert.isTrue(Result.isFailure(readDeploymentUrl(text)), text)
    }
  })
})

describe("a proxy", () => {
  it("may have credentials, and is http where it has no scheme", () => {
    for (const [text, href] of [
      ["http://proxy:3128", "http://proxy:3128/"],
      ["https://pat:p%40ss@proxy", "https://pat:p%40ss@proxy/"],
      ["10.0.0.1:3128", "http://10.0.0.1:3128/"],
      ["pat:pass@proxy:3128", "http://pat:pass@proxy:3128/"]
    ] as const) {
      assert.deepStrictEqual(
        Result.map(readProxy(text), (url) => url.href),
        Result.succeed(href)
      )
    }
    for (const text of ["socks5://proxy", "http://", "http://$PROXY", "http://pat:100%@proxy"]) {
      assert.isTrue(Result.isFailure(readProxy(text)), text)
    }
  })
})

describe("a host", () => {
  it("is a name or an address, with or without the brackets of a URL", () => {
    for (const [text, host] of [
      ["0.0.0.0", "0.0.0.0"],
      ["::", "::"],
      ["[::1]", "::1"],
      ["fe80::1%eth0", "fe80::1%eth0"],
      ["runtime.internal", "runtime.internal"]
    ] as const) {
      assert.deepStrictEqual(readHost(text), Result.succeed(host))
    }
  })

  it("is refused with the reason if it is not exactly a host", () => {
    for (const [text, reason] of [
      ["http://0.0.0.0", "URL"],
      ["0.0.0.0:3000", "port"],
      ["[::1]:3000", "port"],
      ["*", "host name"],
      ["a b", "host name"],
      ["$HOST.example", "host name"]
    ] as const) {
      assert.include(
        Result.getOrElse(readHost(text), (wrong) => `refused: ${wrong}`),
        reason,
        text
      )
    }
  })
})
